//! The failure analysis: what was found of one server, or of two side by side, as Markdown and as a page.

mod compare;
mod diagram;
mod page;
mod plots;
#[cfg(test)]
mod tests;
mod text;
mod watch;

use std::{fs, io, path::Path};

use self::plots::Plot;
pub use self::plots::PlotError;
use crate::{breaking::BreakingPoint, host::Machine, scenario::Settings};

/// What a report is made of.
#[derive(Debug, Clone)]
pub struct Report {
    /// On what all of it was measured.
    pub machine: Machine,
    /// The command that made it.
    pub command: String,
    /// What was found of each server; the first is the one that the report is about.
    pub sides: Vec<Side>,
}

/// One server.
#[derive(Debug, Clone)]
pub struct Side {
    /// What was found.
    pub point: BreakingPoint,
    /// What was asked of it.
    pub settings: Settings,
}

/// A report cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A plot cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A file cannot be written.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// The files of a report: their names, and what is in them.
type Files = Vec<(String, String)>;

impl Report {
    /// Writes `breaking-point.md`, the plots that it shows, and `breaking-point.html`, which needs nothing else, into a
    /// folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn write(&self, folder: &Path) -> Result<(), ReportError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| ReportError::Write { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        for (name, text) in self.files()? {
            let path = folder.join(name);
            fs::write(&path, text).map_err(failed(&path))?;
        }
        Ok(())
    }

    /// Looks whether a report could be written into a folder, which is made if it is not there: before all that is
    /// measured for it.
    ///
    /// # Errors
    /// [`ReportError::Write`].
    pub fn check(folder: &Path) -> Result<(), ReportError> {
        let tried = fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
        let failed = |source| ReportError::Write { path: folder.display().to_string(), source };
        tried.map(drop).map_err(failed)
    }

    fn files(&self) -> Result<Files, ReportError> {
        let plots = plots::plots(&self.sides)?;
        let markdown = text::text(self, &plots);
        let page = page::page(&markdown, &plots);
        let mut files =
            vec![("breaking-point.md".to_owned(), markdown), ("breaking-point.html".to_owned(), page)];
        files.extend(plots.iter().map(|plot| (file_name(plot), page::file(plot))));
        Ok(files)
    }
}

fn file_name(plot: &Plot) -> String {
    format!("breaking-point-{}.svg", plot.name)
}
