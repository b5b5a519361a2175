//! Forecasts of servers whose costs are known.

use super::{
    forecast::{Forecast, Forecaster, Growth, Wall},
    load::Load,
    machine::Bounds,
};
use chat_core::limits::{BATCH_ITEMS_MAX, Gathering};

const BOUNDS: Bounds = Bounds { processors: 2.0, memory_bytes: Some(4e9), descriptors: Some(1e6) };

/// What a server takes for its parts, in ms.
struct Costs {
    base: f64,
    message: f64,
    write: f64,
    byte: f64,
    /// What others on the machine take beside, as a share of it.
    others: f64,
}

const COSTS: Costs = Costs { base: 30.0, message: 0.03, write: 0.004, byte: 1.8e-7, others: 0.0 };

impl Costs {
    fn own(&self, load: &Load) -> f64 {
        self.base + self.message * load.messages + self.write * load.writes + self.byte * load.bytes
    }

    /// Rooms of so many, each of whom says a message of 306 bytes a second, as a server with these costs bears them.
    fn load(&self, rooms: f64, members: f64) -> Load {
        let people = rooms * members;
        let window = (0.028 + 26e-6 * members).min(0.15) * f64::from(u8::from(members > 30.0));
        let writes = people + people / (window + 1.0 / members) * (members - 1.0) / members;
        let commits = people.min(100.0);
        let mut load = Load {
            connections: people,
            messages: people,
            deliveries: people * (members - 1.0),
            commits,
            items: people,
            commit_share: commits * 2e-4 + people * 4e-6,
            writes,
            bytes: people * (members - 1.0) * 306.0,
            machine_cpu: Some(2000.0),
            resident_bytes: Some(15e6 + 20e3 * people),
            descriptors: Some(30.0 + people),
            ..Load::default()
        };
        load.own_cpu = self.own(&load);
        load.others_cpu = Some(self.others * load.own_cpu);
        load
    }

    /// The members of one room at which a wall is met, by looking.
    fn breaking(&self, is_met: impl Fn(&Load) -> bool) -> f64 {
        (1_u32..100_000).map(f64::from).find(|members| is_met(&self.load(1.0, *members))).unwrap()
    }
}

fn forecast_with(forecaster: &mut Forecaster, loads: impl IntoIterator<Item = Load>) -> Forecast {
    let mut rng = fastrand::Rng::with_seed(7);
    for load in loads {
        let off = 0.95 + 0.1 * rng.f64();
        forecaster.learn(&Load {
            own_cpu: load.own_cpu * off,
            others_cpu: load.others_cpu.map(|cpu| cpu * off),
            ..load
        });
    }
    forecaster.forecast().unwrap()
}

fn forecast(loads: impl IntoIterator<Item = Load>) -> Forecast {
    forecast_with(&mut Forecaster::new(BOUNDS, None, Gathering::default()), loads)
}

fn members(forecast: &Forecast) -> f64 {
    forecast.breaking[Growth::Members as usize]
}

fn rooms(forecast: &Forecast) -> f64 {
    forecast.breaking[Growth::Rooms as usize]
}

fn assert_near(value: f64, expected: f64, share: f64) {
    assert!((value - expected).abs() <= share * expected, "{value} for {expected}");
}

#[test]
fn half_the_breaking_load_tells_where_it_breaks() {
    for factor in [0.5, 1.0, 2.0] {
        let costs = Costs { message: 0.03 * factor, write: 0.004 * factor, byte: 1.8e-7 * factor, ..COSTS };
        let breaking = costs.breaking(|load| load.own_cpu >= 1600.0);
        let forecast = forecast(std::iter::repeat_n(costs.load(1.0, breaking / 2.0), 30));
        assert_near(members(&forecast), breaking, 0.15);
        assert_eq!(forecast.first, Wall::Cpu);
    }
}

#[test]
fn loads_that_differ_tell_better() {
    let costs = Costs { base: 100.0, message: 0.1, write: 0.002, byte: 3e-7, others: 0.0 };
    let breaking = costs.breaking(|load| load.own_cpu >= 1600.0);
    let steps =
        (1..=6).flat_map(|step| std::iter::repeat_n(costs.load(1.0, breaking * f64::from(step) / 12.0), 20));
    assert_near(members(&forecast(steps)), breaking, 0.05);
}

#[test]
fn what_others_take_of_the_machine_grows_too() {
    let costs = Costs { others: 1.0, ..COSTS };
    let breaking = costs.breaking(|load| load.own_cpu >= 1000.0);
    let forecast = forecast(std::iter::repeat_n(costs.load(1.0, breaking / 2.0), 30));
    assert_near(members(&forecast), breaking, 0.15);
}

#[test]
fn what_others_take_whatever_the_server_does_stays() {
    let now = COSTS.load(1.0, 1500.0);
    let calm = std::iter::repeat_n(now, 20);
    let busy = |others| calm.clone().map(move |load| Load { others_cpu: Some(others), ..load });
    let alone = members(&forecast(busy(0.0)));
    assert_near(alone, COSTS.breaking(|load| load.own_cpu >= 1600.0), 0.15);
    // Of what is somebody else's no more than what serving costs can be clients'.
    let beside = members(&forecast(busy(700.0)));
    assert!(beside > COSTS.breaking(|load| load.own_cpu >= 650.0), "{beside} of {alone}");
    assert!(beside < COSTS.breaking(|load| load.own_cpu >= 1300.0), "{beside} of {alone}");
    // Who takes all that is left does not take the server's own half.
    let crowded = members(&forecast(busy(2000.0 - now.own_cpu)));
    assert!(crowded > 1.1 * now.connections, "{crowded} of {alone}");
}

#[test]
fn more_rooms_cost_in_proportion() {
    let costs = Costs { base: 20.0, ..COSTS };
    let now = costs.load(300.0, 2.0);
    let forecast = forecast(std::iter::repeat_n(now, 30));
    let breaking = now.connections * (1600.0 - costs.base) / (now.own_cpu - costs.base);
    assert_near(rooms(&forecast), breaking, 0.2);
    assert_near(forecast.headroom, 1.0 - now.connections / breaking, 0.05);
}

#[test]
fn each_wall_can_be_the_first() {
    let now = Costs { base: 1.0, message: 1e-4, write: 1e-5, byte: 1e-10, others: 0.0 }.load(100.0, 2.0);
    let ten = std::iter::repeat_n(now, 10);
    let memory = Bounds { memory_bytes: Some(40e6), ..BOUNDS };
    let memory = forecast_with(&mut Forecaster::new(memory, None, Gathering::default()), ten.clone());
    assert_eq!(memory.first, Wall::Memory);
    let files = Bounds { descriptors: Some(500.0), ..BOUNDS };
    let files = forecast_with(&mut Forecaster::new(files, None, Gathering::default()), ten.clone());
    assert_eq!(files.first, Wall::Descriptors);
    assert_near(rooms(&files), 470.0, 0.01);
    let places = forecast_with(&mut Forecaster::new(BOUNDS, Some(300.0), Gathering::default()), ten.clone());
    assert_eq!(places.first, Wall::Descriptors);
    assert_near(rooms(&places), 300.0, 0.01);
    let link = forecast(ten.map(|load| Load { link_share: Some(0.45), ..load }));
    assert_eq!(link.first, Wall::Network);
    assert_near(rooms(&link), 400.0, 0.01);
}

#[test]
fn batches_that_can_grow_are_no_wall_yet() {
    let cheap = Costs { base: 1.0, message: 1e-4, write: 1e-5, byte: 1e-10, others: 0.0 };
    let (commit, row) = (4e-3, 2e-5);
    // Half the time is spent in commits, but of batches of few rows.
    let load = |people: f64| {
        let load = cheap.load(people / 2.0, 2.0);
        Load { commit_share: load.commits * commit + load.items * row, ..load }
    };
    let loads = (0..60_u32).map(|second| load(500.0 + 100.0 * f64::from(second)));
    let bounds = Bounds { memory_bytes: None, ..BOUNDS };
    let forecast = forecast_with(&mut Forecaster::new(bounds, None, Gathering::default()), loads);
    assert_eq!(forecast.first, Wall::Commits, "{forecast:?}");
    let batch = f64::from(u32::try_from(BATCH_ITEMS_MAX).unwrap());
    assert_near(rooms(&forecast), 0.8 * batch / (commit + row * batch), 0.05);
}

#[test]
fn nothing_is_said_before_something_is_known() {
    let mut forecaster = Forecaster::new(BOUNDS, None, Gathering::default());
    for _ in 0..4 {
        forecaster.learn(&COSTS.load(1.0, 10.0));
        assert_eq!(forecaster.forecast(), None);
    }
    let mut empty = Forecaster::new(BOUNDS, None, Gathering::default());
    (0..20).for_each(|_| empty.learn(&Load { own_cpu: 3.0, ..Load::default() }));
    assert_eq!(empty.forecast(), None, "there is nobody who could become more");
}

#[test]
fn where_the_system_tells_little_the_rest_is_forecast() {
    let bounds = Bounds { memory_bytes: None, descriptors: None, ..BOUNDS };
    let mut forecaster = Forecaster::new(bounds, None, Gathering::default());
    let silent = |load: Load| Load {
        others_cpu: None,
        machine_cpu: None,
        resident_bytes: None,
        descriptors: None,
        ..load
    };
    let forecast = forecast_with(&mut forecaster, (0..30).map(|_| silent(COSTS.load(1.0, 1000.0))));
    assert_near(members(&forecast), COSTS.breaking(|load| load.own_cpu >= 1600.0), 0.2);
    assert_eq!(forecast.used.map(|used| used.is_some()), [true, true, false, false, false]);
}

#[test]
fn people_who_come_and_go_do_not_make_messages_dear() {
    let calm = COSTS.load(1.0, 1000.0);
    let storm = Load { turnover: 2000.0, own_cpu: 1500.0, ..calm };
    let loads = std::iter::repeat_n(storm, 10).chain(std::iter::repeat_n(calm, 20));
    assert_near(members(&forecast(loads)), COSTS.breaking(|load| load.own_cpu >= 1600.0), 0.15);
}

#[test]
fn the_rooms_of_docs_performance_foretell_the_one_that_fills_the_machine() {
    // Members, and ms/s of server and tool, both on two processors, which they fill at 4,000 members.
    for (members, own_cpu, tool_cpu) in
        [(1000.0, 153.0, 130.0), (2000.0, 326.0, 307.0), (3000.0, 650.0, 560.0)]
    {
        let load = Load { own_cpu, others_cpu: Some(tool_cpu), ..COSTS.load(1.0, members) };
        let breaking = forecast(std::iter::repeat_n(load, 30)).breaking[Growth::Members as usize];
        assert_near(breaking, 4000.0, 0.1);
    }
}
