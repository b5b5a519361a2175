//! A breaking point for a person to read.

use std::fmt;

use super::{BreakingPoint, CPU_SHARE, CountedBy, FirstWall, Fit, Model, P99_MAX_MS, Step, search::End};
use crate::{
    host::{Growth, Wall},
    measurement::ratio,
};

/// Shows a breaking point: a line for each step, and what is made of them.
#[derive(Debug)]
pub struct BreakingTable<'a>(pub &'a BreakingPoint);

/// Others may use so much of the processors without a word about it.
const OTHERS_MAX: f64 = 0.1;

/// The width of the names.
const NAMES: usize = 22;

impl fmt::Display for BreakingTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.0;
        writeln!(
            f,
            "{}: {}, {}/s messages of each who talks, {} bytes of text, {} processors\n",
            found.subject, found.scenario, found.rate, found.text_bytes, found.processors
        )?;
        writeln!(
            f,
            "{:>7} {:>11} {:>11} {:>8} {:>9} {:>10} {:>12} {:>9} {:>9}  ",
            "users", "server CPU", "tool CPU", "machine", "p50", "p99", "deliveries", "memory", "predicts"
        )?;
        writeln!(
            f,
            "{:>7} {:>11} {:>11} {:>8} {:>9} {:>10} {:>12} {:>9} {:>9}  ",
            "", "ms/s", "ms/s", "%", "ms", "ms", "a second", "MiB", "users"
        )?;
        for step in &found.steps {
            row(f, found, step)?;
        }
        writeln!(f)?;
        for (name, text) in lines(found) {
            writeln!(f, "{name:<NAMES$} {text}")?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, found: &BreakingPoint, step: &Step) -> fmt::Result {
    write!(f, "{:>7}", step.users)?;
    if let Some(measured) = &step.measurement {
        let or_dash = |figure: Option<String>| figure.unwrap_or_else(|| "-".to_owned());
        let server = measured.server.as_ref();
        let predicts = measured.capacity.as_ref().and_then(|capacity| capacity.breaking(found.growth));
        let machine = step.cpu.map(|cpu| format!("{:.0}", cpu.machine * 100.0));
        write!(
            f,
            " {:>11} {:>11.1} {:>8} {:>9.1} {:>10.1} {:>12.0} {:>9} {:>9}",
            or_dash(server.map(|server| format!("{:.1}", server.cpu_ms_per_s))),
            measured.tool.cpu_ms_per_s,
            or_dash(machine),
            measured.delivery.p50_ms,
            measured.delivery.p99_ms,
            ratio(measured.traffic.delivered, 1) / measured.seconds,
            or_dash(server.map(|server| format!("{:.1}", ratio(server.memory_max_bytes, 1 << 20)))),
            or_dash(predicts.map(|users| format!("{users:.0}"))),
        )?;
    }
    let verdict = if step.is_held() { "  held" } else { "  broke" };
    writeln!(f, "{}", if step.failures.is_empty() { verdict } else { "  FAILED" })
}

/// What is made of the steps: a name and a text each.
fn lines(found: &BreakingPoint) -> Vec<(&'static str, String)> {
    let mut lines = vec![("breaking point", found.sentence())];
    if let Some(step) = found.ending_step() {
        lines.extend(step.reasons.iter().map(|reason| ("", reason.to_string())));
    }
    if let Some(wall) = found.wall_sentence() {
        lines.push(("first wall", wall));
    }
    if let Some(step) = found.breaking_step() {
        let used = Wall::ALL.iter().map(|wall| match step.walls.get(wall) {
            Some(used) => format!("{wall} {:.0} %", used * 100.0),
            None => format!("{wall} not known"),
        });
        lines.push(("used of each wall", used.collect::<Vec<_>>().join(", ")));
    }
    if let Some(others) = found.disturbed() {
        let text = format!(
            "others took up to {:.0} % of the processors: measure while they are quiet",
            others * 100.0
        );
        lines.push(("disturbed", text));
    }
    let models = &found.models;
    lines.push(("seed model", model(&models.seed, seed_text)));
    if let Some(users) = models.seed_breaks_at {
        lines.push(("", format!("it is at the CPU wall with {users} users")));
    }
    lines.push(("better model", model(&models.better, better_text)));
    if models.counted_by == CountedBy::Tool {
        let text = "writes and bytes are the reads and bytes of the load tool: the server counts none";
        lines.push(("", text.to_owned()));
    }
    lines.push(("prediction", prediction_text(found)));
    for (users, failure) in found.failures() {
        lines.push(("FAILED", format!("with {users} users: {failure}")));
    }
    for step in found.steps.iter().filter(|step| !step.failures.is_empty()) {
        let faults = step.measurement.iter().flat_map(|found| &found.verdict.faults);
        lines.extend(faults.map(|fault| ("", format!("- {fault}"))));
    }
    lines
}

impl BreakingPoint {
    /// What was found, or why nothing was, in one sentence.
    pub fn sentence(&self) -> String {
        let held = self
            .held
            .map_or_else(|| "it held none".to_owned(), |held| format!("it held {}", thousands(held)));
        let broke = self.broke.map(thousands);
        match (self.end, broke) {
            (End::Failed, _) => "none: the server did what it must not do under any load".to_owned(),
            (End::Tool, _) => format!("none: the load tool was full before the server was; {held}"),
            (End::Unbroken, _) => format!("none: {held}, and no more were asked for"),
            (End::Steps | End::Time, None) => format!("none: steps or time were too few; {held}"),
            (End::Steps | End::Time, Some(broke)) => {
                format!("{broke} users; {held}, and steps or time were too few to look between")
            }
            (End::Found, Some(broke)) => format!("{broke} users; {held}"),
            (End::Found, None) => held,
        }
    }

    /// The largest share of the processors that others took, where that was so much that the figures are of little use.
    pub fn disturbed(&self) -> Option<f64> {
        let others = self.steps.iter().filter_map(|step| Some(step.cpu?.others)).fold(0.0, f64::max);
        (others > OTHERS_MAX).then_some(others)
    }

    /// Which wall came first, and how much of it was used.
    pub fn wall_sentence(&self) -> Option<String> {
        let FirstWall { wall, used } = self.first_wall.as_ref()?;
        let used = used * 100.0;
        Some(if used >= 100.0 {
            let at = self.breaking_step().and_then(|step| step.cpu);
            let thread = at.filter(|cpu| {
                *wall == Wall::Cpu
                    && cpu.is_thread_full()
                    && !cpu.is_machine_full()
                    && !cpu.is_server_at_wall()
            });
            let why = thread.map_or_else(String::new, |cpu| {
                format!(": one of its threads took {:.0} % of a processor", cpu.thread * 100.0)
            });
            format!("{wall}: {used:.0} % of it was used{why}")
        } else {
            format!(
                "none was reached: p99, or what was late, came first; the nearest was {wall}, {used:.0} % used"
            )
        })
    }
}

fn model(model: &Model, shown: impl Fn(&[f64]) -> String) -> String {
    let Some(fit) = &model.fit else {
        return format!("none: {}", model.missing.as_deref().unwrap_or("not known"));
    };
    format!("{}; {}", shown(&fit.coefficients), errors(fit))
}

/// How well a model fits.
pub(crate) fn errors(fit: &Fit) -> String {
    let together =
        if fit.is_told_apart() { "" } else { "; what it counts rose together and is not told apart" };
    format!(
        "off by {:.1} % (relative RMS), R² {:.4}, {} points{together}",
        fit.relative_rms * 100.0,
        fit.r_squared,
        fit.points
    )
}

/// The coefficients of the seed model.
pub(crate) fn seed_text(coefficients: &[f64]) -> String {
    let [c, s] = coefficients else { return String::new() };
    format!("c = {:.1} µs a message, s = {:.3} µs a delivery", c * 1e3, s * 1e3)
}

/// The coefficients of the better model.
pub(crate) fn better_text(coefficients: &[f64]) -> String {
    let [a, c, w, b] = coefficients else { return String::new() };
    format!(
        "a = {a:.2} ms/s, c = {:.1} µs a message, w = {:.3} µs a write, b = {:.3} ns a byte",
        c * 1e3,
        w * 1e3,
        b * 1e6
    )
}

/// What the server had predicted, and whether it was right.
pub(crate) fn prediction_text(point: &BreakingPoint) -> String {
    let Some(found) = &point.prediction else {
        let mut measured = point.steps.iter().filter_map(|step| step.measurement.as_ref());
        let text = if measured.any(|found| found.capacity.is_some()) {
            "nothing was measured to hold the server's prediction against"
        } else {
            "the server predicts nothing of itself"
        };
        return text.to_owned();
    };
    let growth = match point.growth {
        Growth::Members => "more people in the same rooms",
        Growth::Rooms => "more such rooms",
    };
    let (Some(users), Some(error)) = (found.predicted, found.error) else {
        return format!("MISSED: with {} users the server did not know yet", thousands(found.at_users));
    };
    let verdict = if found.is_met { "met" } else { "MISSED" };
    format!(
        "{verdict}: with {} users the server predicted {} by {growth}, {:+.0} % of {}",
        thousands(found.at_users),
        thousands(rounded(users)),
        error * 100.0,
        thousands(found.measured)
    )
}

/// What is a sign that a server is broken, for a person.
pub(crate) fn signs(settle_seconds: f64) -> [String; 3] {
    [
        format!(
            "the server takes {:.0} % of the processors, or server and load tool fill them",
            CPU_SHARE * 100.0
        ),
        format!("one of a hundred deliveries takes longer than {P99_MAX_MS:.0} ms"),
        format!(
            "a message is late: {settle_seconds:.0} s after the last send it is not acked, or not with everybody; or its \
             user could not say it, as too many had no ack"
        ),
    ]
}

/// A number with its thousands apart.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of users; what is not one is 0"
)]
const fn rounded(users: f64) -> usize {
    users.round() as usize
}
