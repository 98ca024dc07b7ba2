//! Figures, their medians over the rounds, and the tables that are printed of them.

use std::time::Duration;

use crate::drive::{Cost, Phase};
use crate::{GIB, MIB};

/// What one server did of one kind of work in one round.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) work: String,
    /// What it cost, and of what: CPU of a gibibyte or of a request, or memory.
    pub(crate) cost: f64,
    pub(crate) of: &'static str,
    /// How much was done in a second, and of what.
    pub(crate) rate: Option<(f64, &'static str)>,
    /// The median and the 99th percentile.
    pub(crate) latencies: Option<[Duration; 2]>,
    /// The most resident memory meanwhile, in MiB.
    pub(crate) peak: Option<f64>,
    /// How busy the client was, 1 being always: near 1, it is the client that is measured.
    pub(crate) client: Option<f64>,
}

impl Row {
    pub(crate) fn memory(work: String, mib: f64) -> Self {
        Self { work, cost: mib, of: "MiB", rate: None, latencies: None, peak: None, client: None }
    }

    pub(crate) fn bytes(work: String, len: usize, cost: &Cost) -> Self {
        let per_gib = cost.cpu.as_secs_f64() * GIB as f64 / len as f64;
        let rate = len as f64 / MIB as f64 / cost.wall.as_secs_f64();
        Self { cost: per_gib, of: "s/GiB", ..Self::of(work, (rate, " MiB/s"), cost) }
    }

    /// Each request counts, for CPU as for the rate.
    pub(crate) fn requests(work: String, phase: &Phase) -> Self {
        Self::operations(work, phase, phase.requests, "/s")
    }

    /// CPU of each of so many, and operations in a second.
    pub(crate) fn operations(work: String, phase: &Phase, costed: usize, unit: &'static str) -> Self {
        let Phase { cost, latencies, .. } = phase;
        let quantile = |q: f64| latencies[((latencies.len() - 1) as f64 * q).round() as usize];
        let rate = latencies.len() as f64 / cost.wall.as_secs_f64();
        let row = Self::of(work, (rate, unit), cost);
        let each = cost.cpu.as_secs_f64() * 1e3 / costed as f64;
        Self { cost: each, of: "ms", latencies: Some([quantile(0.5), quantile(0.99)]), ..row }
    }

    fn of(work: String, rate: (f64, &'static str), cost: &Cost) -> Self {
        let client = cost.client.as_secs_f64() / cost.wall.as_secs_f64();
        Self { rate: Some(rate), peak: Some(cost.peak), client: Some(client), ..Self::memory(work, 0.0) }
    }
}

/// All rows of one kind of work on one server.
struct Cell<'r> {
    rows: Vec<&'r Row>,
}

impl Cell<'_> {
    fn median(&self, figure: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
        let figures = self.sorted(figure);
        let middle = figures.len() / 2;
        match figures.len() {
            0 => None,
            len if len % 2 == 1 => Some(figures[middle]),
            _ => Some(f64::midpoint(figures[middle - 1], figures[middle])),
        }
    }

    fn sorted(&self, figure: impl Fn(&Row) -> Option<f64>) -> Vec<f64> {
        let mut figures: Vec<f64> = self.rows.iter().filter_map(|row| figure(row)).collect();
        figures.sort_by(f64::total_cmp);
        figures
    }

    fn cost(&self) -> Option<f64> {
        self.median(|row| Some(row.cost))
    }

    fn rate(&self) -> Option<f64> {
        self.median(|row| Some(row.rate?.0))
    }

    fn text(&self) -> String {
        let (Some(first), Some(cost)) = (self.rows.first(), self.cost()) else { return "–".to_owned() };
        let cost = format!("{} {}", show(cost), first.of);
        match (self.rate(), first.rate) {
            (Some(rate), Some((_, unit))) => format!("{cost}; {}{unit}", show(rate)),
            _ => cost,
        }
    }

    /// This by another: cost, then rate.
    fn ratio(&self, other: &Self) -> String {
        let by = |this: Option<f64>, other: Option<f64>| Some(show(this? / other.filter(|other| *other > 0.0)?));
        match (by(self.cost(), other.cost()), by(self.rate(), other.rate())) {
            (Some(cost), Some(rate)) => format!("{cost}; {rate}"),
            (Some(cost), None) => cost,
            (None, _) => "–".to_owned(),
        }
    }
}

/// Three digits that count, and no more.
fn show(figure: f64) -> String {
    match figure {
        figure if figure >= 100_000.0 => format!("{:.0} k", figure / 1000.0),
        figure if figure >= 10_000.0 => format!("{:.1} k", figure / 1000.0),
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure if figure >= 1.0 => format!("{figure:.2}"),
        figure => format!("{figure:.3}"),
    }
}

/// What every server did in every round, by the titles of the servers.
#[derive(Debug, Default)]
pub(crate) struct Results {
    rows: Vec<(String, Row)>,
}

impl Results {
    /// Keeps a row, and tells it to whoever waits.
    pub(crate) fn add(&mut self, title: &str, row: Row) {
        eprintln!("  {title}: {}: {}", row.work, Cell { rows: vec![&row] }.text());
        self.rows.push((title.to_owned(), row));
    }

    fn cell(&self, title: &str, work: &str) -> Cell<'_> {
        let rows = self.rows.iter().filter(|(of, row)| of == title && row.work == work);
        Cell { rows: rows.map(|(_, row)| row).collect() }
    }

    fn works(&self, titles: &[&str]) -> Vec<&str> {
        let mut works: Vec<&str> = Vec::new();
        for (title, row) in &self.rows {
            if titles.contains(&title.as_str()) && !works.contains(&&*row.work) {
                works.push(&row.work);
            }
        }
        works
    }

    /// The table: a row for each kind of work, a column for each server, and what
    /// `ours` comes to beside each of the `others`.
    pub(crate) fn print(&self, others: &[&str], ours: &[&str]) {
        let titles = [others, ours].concat();
        let works = self.works(&titles);
        if works.is_empty() {
            return;
        }
        let compared: Vec<_> =
            ours.iter().take(1).flat_map(|this| others.iter().map(move |other| (this, other))).collect();
        let mut head = titles.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>();
        head.extend(compared.iter().map(|(this, other)| format!("{this} ÷ {other}")));
        println!("| work | {} |\n|---|{}", head.join(" | "), "---|".repeat(head.len()));
        for work in works {
            let mut line: Vec<_> = titles.iter().map(|title| self.cell(title, work).text()).collect();
            line.extend(compared.iter().map(|(this, other)| self.cell(this, work).ratio(&self.cell(other, work))));
            println!("| {work} | {} |", line.join(" | "));
        }
        println!();
    }

    /// What the table leaves out.
    pub(crate) fn print_details(&self, titles: &[&str]) {
        println!("| work | server | rate, least to most | p50 ms | p99 ms | peak RSS MiB | client's CPU |");
        println!("|---|---|---|---|---|---|---|");
        for work in self.works(titles) {
            for title in titles {
                let cell = self.cell(title, work);
                let rates = cell.sorted(|row| Some(row.rate?.0));
                let ([least, ..], [.., most], Some(busy)) = (&*rates, &*rates, cell.median(|row| row.client)) else {
                    continue;
                };
                let figure = |figure: Option<f64>| figure.map_or_else(|| "–".to_owned(), show);
                let latency = |nth: usize| figure(cell.median(|row| Some(row.latencies?[nth].as_secs_f64() * 1e3)));
                let (p50, p99, peak) = (latency(0), latency(1), figure(cell.median(|row| row.peak)));
                let rates = format!("{} to {}", show(*least), show(*most));
                println!("| {work} | {title} | {rates} | {p50} | {p99} | {peak} | {:.0} % |", busy * 100.0);
            }
        }
    }
}
