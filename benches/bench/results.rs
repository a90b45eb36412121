//! The results, kept in a file so that a run of some figures keeps the results of the others.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// All figures in the order of the page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results(pub Vec<Measurement>);

/// A figure's results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurement {
    /// Its name on the command line.
    pub word: String,
    pub setting: Setting,
    pub lines: Vec<Line>,
    pub curves: Vec<Curve>,
}

/// Where and when something was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    pub machine: String,
    pub cottar: String,
    pub serf: String,
    pub date: String,
    /// Load average over the minute before.
    pub load: String,
}

/// A row of the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    pub name: String,
    pub cottar: String,
    pub serf: String,
    pub ratio: String,
    pub goal: String,
    pub is_reached: bool,
    pub note: String,
    /// Results of each round, if there were any: cottar's and the reference's.
    pub rounds: [Vec<f64>; 2],
}

/// Points of a chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    pub chart: String,
    pub series: String,
    pub points: Vec<[f64; 2]>,
}

impl Curve {
    pub fn new(chart: &str, series: &str, points: impl IntoIterator<Item = [f64; 2]>) -> Curve {
        Curve {
            chart: chart.to_owned(),
            series: series.to_owned(),
            points: points.into_iter().collect(),
        }
    }
}

/// The folder of the page, the charts and the results file.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches")
}

/// The results file.
pub fn file() -> PathBuf {
    folder().join("results.json")
}

impl Results {
    /// Replaces the earlier results of a figure. `words`: all figures in order. Numbers are rounded here, so
    /// that a page made at once is the same as one made from the file.
    pub fn take(&mut self, mut measurement: Measurement, words: &[&str]) {
        measurement.numbers_mut().for_each(round);
        self.0.retain(|other| other.word != measurement.word);
        self.0.push(measurement);
        let place = |word: &str| words.iter().position(|other| *other == word);
        self.0.sort_by_key(|measurement| place(&measurement.word));
    }

    /// Returns all points of a chart.
    pub fn curves<'a>(&'a self, chart: &'a str) -> impl Iterator<Item = &'a Curve> {
        let curves = self.0.iter().flat_map(|measurement| &measurement.curves);
        curves.filter(move |curve| curve.chart == chart)
    }

    /// Parses the text of the results file.
    ///
    /// # Errors
    /// If the text does not have the format of [`Self::encode`].
    pub fn decode(text: &str) -> Result<Results, String> {
        let value: Value = serde_json::from_str(text).map_err(|why| why.to_string())?;
        let list = value.as_array().ok_or("no list")?;
        let all: Option<Vec<Measurement>> = list.iter().map(Measurement::decode).collect();
        all.map(Results).ok_or_else(|| "a field is missing".into())
    }

    /// Formats the results file: one line per table row and curve.
    pub fn encode(&self) -> String {
        let block = |values: Vec<Value>| {
            let lines = values.iter().map(|value| format!("\n    {value}"));
            lines.collect::<Vec<_>>().join(",")
        };
        let measurements = self.0.iter().map(|measurement| {
            format!(
                "{{\"word\": {}, \"setting\": {},\n  \"lines\": [{}],\n  \"curves\": [{}]}}",
                json!(measurement.word),
                measurement.setting.encode(),
                block(measurement.lines.iter().map(Line::encode).collect()),
                block(measurement.curves.iter().map(Curve::encode).collect()),
            )
        });
        format!("[{}]\n", measurements.collect::<Vec<_>>().join(",\n"))
    }
}

/// Returns a text member.
fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

fn list<T>(
    object: &Map<String, Value>,
    key: &str,
    decode: impl Fn(&Value) -> Option<T>,
) -> Option<Vec<T>> {
    object.get(key)?.as_array()?.iter().map(decode).collect()
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(Value::as_f64).collect()
}

/// Measurements are not more precise than three decimals.
fn round(number: &mut f64) {
    *number = (*number * 1e3).round() / 1e3;
}

impl Measurement {
    fn numbers_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        let of_lines = self.lines.iter_mut().flat_map(|line| &mut line.rounds);
        let of_curves = self.curves.iter_mut().flat_map(|curve| &mut curve.points);
        of_lines.flatten().chain(of_curves.flatten())
    }

    fn decode(value: &Value) -> Option<Measurement> {
        let object = value.as_object()?;
        Some(Measurement {
            word: text(object, "word")?,
            setting: Setting::decode(object.get("setting")?)?,
            lines: list(object, "lines", Line::decode)?,
            curves: list(object, "curves", Curve::decode)?,
        })
    }
}

impl Setting {
    fn encode(&self) -> Value {
        json!({"machine": self.machine, "cottar": self.cottar, "serf": self.serf,
            "date": self.date, "load": self.load})
    }

    fn decode(value: &Value) -> Option<Setting> {
        let object = value.as_object()?;
        Some(Setting {
            machine: text(object, "machine")?,
            cottar: text(object, "cottar")?,
            serf: text(object, "serf")?,
            date: text(object, "date")?,
            load: text(object, "load")?,
        })
    }
}

impl Line {
    fn encode(&self) -> Value {
        json!({"name": self.name, "cottar": self.cottar, "serf": self.serf, "ratio": self.ratio,
            "goal": self.goal, "reached": self.is_reached, "note": self.note, "rounds": self.rounds})
    }

    fn decode(value: &Value) -> Option<Line> {
        let object = value.as_object()?;
        Some(Line {
            name: text(object, "name")?,
            cottar: text(object, "cottar")?,
            serf: text(object, "serf")?,
            ratio: text(object, "ratio")?,
            goal: text(object, "goal")?,
            is_reached: object.get("reached")?.as_bool()?,
            note: text(object, "note")?,
            rounds: list(object, "rounds", numbers)?.try_into().ok()?,
        })
    }
}

impl Curve {
    fn encode(&self) -> Value {
        json!({"chart": self.chart, "series": self.series, "points": self.points})
    }

    fn decode(value: &Value) -> Option<Curve> {
        let object = value.as_object()?;
        Some(Curve {
            chart: text(object, "chart")?,
            series: text(object, "series")?,
            points: list(object, "points", |point| numbers(point)?.try_into().ok())?,
        })
    }
}
