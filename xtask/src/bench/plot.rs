//! `cargo xtask bench --plot`: line charts of the growth curves as SVG, with logarithmic axes. Drawn by hand, and
//! readable on a light and on a dark page: text and axes have the page's own colour.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::report::short;

/// Size of a chart, in pixels.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Where the curves are, from the corner of the least values to that of the largest; labels stand around it.
const AREA: [(f64, f64); 2] = [(70.0, 350.0), (620.0, 60.0)];
/// The most lines in one chart, each with a colour that is seen on white and on black.
const COLOURS: [&str; 4] = ["#2f81f7", "#d9730d", "#2da44e", "#bf4b8a"];
/// Text is as dark or light as the page wants it.
const STYLE: &str = "text{font:13px sans-serif;fill:#1f2328}.axis{stroke:#1f2328}.grid{stroke:#8c959f;stroke-opacity:.35}\
                     @media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis{stroke:#e6edf3}}";

/// One line of a chart.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws every curve of `file` into `out`, one chart for each unit.
///
/// # Errors
/// The file is no result of `--growth`, or a chart cannot be written.
pub(super) fn run(file: &Path, out: &Path) -> Result<(), String> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    let all: Value = serde_json::from_str(&text).map_err(|error| format!("{shown}: {error}"))?;
    let curves = all.get("curves").and_then(Value::as_array).ok_or_else(|| {
        format!("{shown}: it has no curves; `cargo xtask bench --growth` writes them")
    })?;
    fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    for (name, chart) in curves.iter().flat_map(charts) {
        let path = out.join(name);
        fs::write(&path, chart).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// File names and charts of one curve: lines of one unit share a chart.
fn charts(curve: &Value) -> Vec<(String, String)> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let lines = curve["lines"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut units: Vec<String> = lines.iter().map(|line| text(line, "unit")).collect();
    units.dedup();
    let of_unit = |unit: &String| {
        let lines = lines.iter().filter(|line| text(line, "unit") == *unit);
        let lines: Vec<Line> = lines
            .map(|line| Line {
                name: text(line, "name"),
                points: points(line),
            })
            .collect();
        let ending = match unit.as_str() {
            "bytes" => "-memory",
            "ms" => "-turns",
            _ => "",
        };
        let name = format!("{}{ending}.svg", text(curve, "id"));
        chart(&text(curve, "title"), &text(curve, "along"), unit, &lines).map(|chart| (name, chart))
    };
    units.iter().filter_map(of_unit).collect()
}

fn points(line: &Value) -> Vec<(f64, f64)> {
    let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_f64()?));
    let points = line["points"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    // What is not positive has no place on a logarithmic axis.
    points
        .iter()
        .filter_map(point)
        .filter(|(x, y)| *x > 0.0 && *y > 0.0)
        .collect()
}

/// A logarithmic axis from one power of ten to another.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    first: i32,
    last: i32,
    from_px: f64,
    to_px: f64,
}

impl Scale {
    /// The powers of ten around all values, at least one decade; `None` without values.
    fn around(values: impl Iterator<Item = f64>, from_px: f64, to_px: f64) -> Option<Self> {
        let logs: Vec<f64> = values.map(f64::log10).collect();
        let least = logs.iter().copied().reduce(f64::min)?;
        let most = logs.iter().copied().reduce(f64::max)?;
        let first = whole(least.floor());
        Some(Self {
            first,
            last: whole(most.ceil()).max(first + 1),
            from_px,
            to_px,
        })
    }

    fn px(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        self.from_px + part * (self.to_px - self.from_px)
    }

    /// The powers of ten on it.
    fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        (self.first..=self.last).map(|power| 10f64.powi(power))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a power of ten of a float is at most 308"
)]
fn whole(value: f64) -> i32 {
    value as i32
}

/// `None` if there is nothing to draw.
fn chart(title: &str, along: &str, unit: &str, lines: &[Line]) -> Option<String> {
    let all = || lines.iter().flat_map(|line| &line.points);
    let [(left, bottom), (right, top)] = AREA;
    let across = Scale::around(all().map(|point| point.0), left, right)?;
    let up = Scale::around(all().map(|point| point.1), bottom, top)?;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>{0}</title>\n<style>{STYLE}</style>\n<text x=\"{left}\" y=\"20\" font-weight=\"bold\">{0}</text>\n",
        escape(title)
    );
    grid(&mut svg, &across, &up, along, unit);
    for ((line, colour), number) in lines.iter().zip(COLOURS).zip(0u8..) {
        draw(&mut svg, line, colour, &across, &up);
        let x = left + f64::from(number) * 190.0;
        let name = escape(&line.name);
        let _infallible = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"32\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{}\" y=\"43\">{name}</text>",
            x + 17.0
        );
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn grid(svg: &mut String, across: &Scale, up: &Scale, along: &str, unit: &str) {
    let [(left, bottom), (right, top)] = AREA;
    for tick in across.ticks() {
        let x = across.px(tick);
        let _infallible = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            amount(tick)
        );
    }
    for tick in up.ticks() {
        let y = up.px(tick);
        let _infallible = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 8.0,
            y + 4.0,
            amount(tick)
        );
    }
    let _infallible = writeln!(
        svg,
        "<path class=\"axis\" fill=\"none\" d=\"M{left} {top}V{bottom}H{right}\"/>\n\
         <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{}</text>\n<text x=\"8\" y=\"{}\">{}</text>",
        HEIGHT - 10.0,
        escape(along),
        top - 4.0,
        escape(unit)
    );
}

fn draw(svg: &mut String, line: &Line, colour: &str, across: &Scale, up: &Scale) {
    let places: Vec<(f64, f64, f64)> = line
        .points
        .iter()
        .map(|(x, y)| (across.px(*x), up.px(*y), *y))
        .collect();
    let path: Vec<String> = places
        .iter()
        .map(|(x, y, _)| format!("{x:.1},{y:.1}"))
        .collect();
    let _infallible = writeln!(
        svg,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
        path.join(" ")
    );
    for (x, y, value) in places {
        let _infallible = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"><title>{}</title></circle>",
            short(value)
        );
    }
}

/// A power of ten as people write it: 0.1, 100, 10k, 1M.
fn amount(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e3 => format!("{}k", value / 1e3),
        value => format!("{value}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scale_goes_from_a_power_of_ten_to_another() {
        let scale = Scale::around([20.0, 3000.0].into_iter(), 0.0, 300.0).unwrap();
        assert_eq!((scale.first, scale.last), (1, 4));
        assert!((scale.px(10.0) - 0.0).abs() < 1e-9);
        assert!((scale.px(100.0) - 100.0).abs() < 1e-9);
        assert!((scale.px(10_000.0) - 300.0).abs() < 1e-9);
        assert_eq!(
            scale.ticks().map(amount).collect::<Vec<_>>(),
            ["10", "100", "1k", "10k"]
        );
    }

    #[test]
    fn one_value_has_a_decade_and_none_has_no_scale() {
        let scale = Scale::around([1.0].into_iter(), 0.0, 100.0).unwrap();
        assert_eq!((scale.first, scale.last), (0, 1));
        assert_eq!(Scale::around(std::iter::empty(), 0.0, 1.0), None);
    }

    #[test]
    fn a_curve_has_a_chart_for_each_unit_and_nothing_is_drawn_of_nothing() {
        let curve = json!({"id": "s", "title": "a < b", "along": "n", "lines": [
            {"name": "time", "unit": "µs", "points": [[1, 0.5, 0.4, 0.6], [1000, 0.7, 0.6, 0.8]]},
            {"name": "memory", "unit": "bytes", "points": [[1, 200, 190, 210]]},
            {"name": "nothing", "unit": "bytes", "points": []},
        ]});
        let charts = charts(&curve);
        let names: Vec<&str> = charts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["s.svg", "s-memory.svg"]);
        assert!(charts[0].1.contains("a &lt; b"));
        assert_eq!(charts[0].1.matches("<circle").count(), 2);
        assert!(chart("t", "n", "µs", &[]).is_none());
    }

    #[test]
    fn a_file_without_curves_says_where_they_come_from() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bench.json");
        fs::write(&file, "{}").unwrap();
        assert!(run(&file, folder.path()).unwrap_err().contains("--growth"));
    }
}
