//! The picture: what happens to the rate and to the cost of an event with the number of connections.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::findings::{Cell, Closed};
use crate::run::Run;

const SIZE: (u32, u32) = (960, 400);
const INGRESS: RGBColor = RGBColor(120, 120, 120);
const DURABLE: RGBColor = RGBColor(0, 158, 115);
const KAFKA: RGBColor = RGBColor(0, 114, 178);
const STORE: RGBColor = RGBColor(213, 94, 0);

/// Somebody's line: a name, a colour, and a value for each number of connections.
struct Line {
    name: &'static str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Draws it as SVG.
pub fn draw(closed: &Closed, grid: &[Cell], file: &Path) -> anyhow::Result<()> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (left, right) = area.split_horizontally(SIZE.0 / 2);
    let rates = lines(closed, grid, |run| run.accepted_rate / 1000.0);
    let costs = lines(closed, grid, Run::cpu);
    // Each legend where the lines are not: rates rise and costs fall.
    chart(
        &left,
        "events/s accepted, in thousands",
        &rates,
        SeriesLabelPosition::UpperLeft,
    )?;
    chart(
        &right,
        "CPU µs an event",
        &costs,
        SeriesLabelPosition::UpperRight,
    )?;
    area.present()?;
    Ok(())
}

fn lines(closed: &Closed, grid: &[Cell], value: impl Fn(&Run) -> f64) -> Vec<Line> {
    let mut cells = vec![[
        &closed.ingress,
        &closed.durable,
        &closed.kafka,
        &closed.store,
    ]];
    let others = grid.iter();
    cells.extend(others.map(|cell| [&cell.ingress, &cell.durable, &cell.kafka, &cell.store]));
    cells.retain(|[ingress, ..]| ingress.body_bytes == closed.ingress.body_bytes);
    cells.sort_by_key(|[ingress, ..]| ingress.connections);
    #[allow(clippy::cast_precision_loss, reason = "a place in a picture")]
    let point = |run: &Run| (run.connections as f64, value(run));
    let who = [
        ("(a) ingress alone", INGRESS),
        ("(e) with a sync", DURABLE),
        ("to Kafka", KAFKA),
        ("to the store", STORE),
    ];
    let line = |(at, (name, colour)): (usize, (&'static str, RGBColor))| Line {
        name,
        colour,
        points: cells.iter().map(|cell| point(cell[at])).collect(),
    };
    who.into_iter().enumerate().map(line).collect()
}

fn chart(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    lines: &[Line],
    legend: SeriesLabelPosition,
) -> anyhow::Result<()> {
    let highest = lines
        .iter()
        .flat_map(|line| &line.points)
        .fold(0.0_f64, |highest, (_, value)| highest.max(*value));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d((0.9..1200.0_f64).log_scale(), 0.0..highest * 1.1)?;
    chart
        .configure_mesh()
        .x_desc("connections")
        .x_label_formatter(&|connections| format!("{connections:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for line in lines {
        let colour = line.colour;
        chart
            .draw_series(
                LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)).point_size(3),
            )?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .position(legend)
        .draw()?;
    Ok(())
}
