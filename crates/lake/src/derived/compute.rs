//! One UTC day of all derived tables, from SQL over `signals`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use futures::StreamExt;
use model::{UtcMicros, VehicleId};
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::owners::OwnersOfDay;
use super::private::Private;
use super::rules::{Charge, Silence, State, Trip, charges, silence, states, trips};
use super::timeline::{Sample, moments};
use super::{DerivedFile, DerivedTable, INPUTS, MARGIN_TIME};
use crate::query::{Allowed, Queries};
use crate::threads::Threads;
use crate::{Error, SourceError};

/// Samples that are in memory at once, 24 bytes each: some 100 MB.
const SAMPLES_MAX: u64 = 4 << 20;

/// Rows that come more than this after their time, in seconds, are late: sent again, or kept back by a network.
const LATE_S: i64 = 60;

/// Fewer owners are not counted: beside the few vehicles of such a day the count would say which of them belong to the same.
const OWNERS_MIN: i64 = 5;

/// Names of lost signals that are listed.
const LOST_NAMES_MAX: usize = 20;

/// What a vehicle said on a day, signal by signal.
#[derive(Default)]
struct Said {
    source: String,
    rows: i64,
    late: i64,
    /// Microseconds between the time and the receipt of the latest row.
    latest: i64,
    signals: BTreeSet<String>,
}

/// What the registry says of a day's vehicles.
pub(super) struct Known<'a> {
    pub(super) owners: &'a OwnersOfDay,
    pub(super) private: &'a Private,
}

/// All rows of a day.
#[derive(Default)]
struct Rows {
    trips: Vec<(String, Trip)>,
    charges: Vec<(String, Charge)>,
    states: Vec<(String, State)>,
    gaps: Vec<(String, Silence)>,
}

/// The files of a day, one for each table.
pub(super) async fn day(
    queries: &Arc<Queries>,
    threads: &Threads,
    known: &Known<'_>,
    day: i64,
) -> Result<Vec<(DerivedTable, Vec<u8>)>, Error> {
    let ask = Ask { queries, threads };
    let (from, until) = (day * UtcMicros::PER_DAY, (day + 1) * UtcMicros::PER_DAY);
    let said = ask.said(from, until).await?;
    let before = ask.signals(from - UtcMicros::PER_DAY, from).await?;
    let mut rows = Rows::default();
    for range in ranges(&said) {
        for (vehicle, samples) in ask.samples(from - MARGIN_TIME, until + MARGIN_TIME, &range).await? {
            rows.take(&vehicle, samples, from, until);
        }
    }
    let batches = [
        rows.trips(known.private),
        rows.charges(),
        rows.states(),
        rows.battery(),
        rows.gaps(from, &said, &before),
        rows.daily(from, &said, known.owners),
    ];
    let encoded = DerivedTable::ALL.into_iter().zip(batches).map(|(table, columns)| {
        let encode = || -> Result<Vec<u8>, parquet::errors::ParquetError> {
            let batch = RecordBatch::try_new(table.schema(), columns)?;
            let properties =
                WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?));
            let mut writer = ArrowWriter::try_new(Vec::new(), table.schema(), Some(properties.build()))?;
            writer.write(&batch)?;
            writer.into_inner()
        };
        let encoded = encode().map_err(|source| Error::Encode { table: table.name(), source })?;
        Ok((table, encoded))
    });
    encoded.collect()
}

/// Whether a file has rows of a vehicle.
pub(super) async fn names(
    store: &dyn ObjectStore,
    file: &DerivedFile,
    vehicle: VehicleId,
) -> Result<bool, Error> {
    let bytes: Bytes = match store.get(&file.object).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let damaged = |why: String| {
        Error::Source(SourceError(format!("{}: {why}; `lake rebuild` makes it anew", file.object)))
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| damaged(error.to_string()))?;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        let vehicles = batch.column_by_name("vehicle").and_then(|column| column.as_string_opt::<i32>());
        if vehicles.is_some_and(|names| names.iter().flatten().any(|name| name == vehicle.as_str())) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Ranges of vehicles, both ends included, whose samples fit into memory; the first and the last have no end, for vehicles that said
/// something around the day alone.
fn ranges(said: &BTreeMap<String, Said>) -> Vec<(Option<&str>, Option<&str>)> {
    let mut ends: Vec<&str> = Vec::new();
    let mut sum = 0;
    for (vehicle, said) in said {
        sum += said.rows.unsigned_abs();
        if sum > SAMPLES_MAX {
            ends.push(vehicle);
            sum = 0;
        }
    }
    let begins = std::iter::once(None).chain(ends.iter().copied().map(Some));
    begins.zip(ends.iter().copied().map(Some).chain(std::iter::once(None))).collect()
}

struct Ask<'a> {
    queries: &'a Arc<Queries>,
    threads: &'a Threads,
}

impl Ask<'_> {
    async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        // Each center derives from what it took itself.
        let own = Allowed { own_alone: true, ..Allowed::default() };
        let mut answer = self.queries.clone().answer(self.threads, sql, &own).await?;
        let mut batches = Vec::new();
        while let Some(batch) = answer.rows.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }

    async fn said(&self, from: i64, until: i64) -> Result<BTreeMap<String, Said>, Error> {
        let sql = format!(
            "select vehicle, source, signal, count(*) as n, \
             sum(case when age > {LATE_S} * 1000000 then 1 else 0 end) as late, max(age) as latest from \
             (select vehicle, source, signal, cast(received_at as bigint) - cast(time as bigint) as age from signals \
             where {}) group by vehicle, source, signal",
            within(from, until)
        );
        let mut all: BTreeMap<String, Said> = BTreeMap::new();
        for batch in self.rows(&sql).await? {
            let text = |column: usize| batch.column(column).as_string_view();
            let number = |column: usize| batch.column(column).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let said = all.entry(text(0).value(row).to_owned()).or_default();
                text(1).value(row).clone_into(&mut said.source);
                said.signals.insert(text(2).value(row).to_owned());
                said.rows += number(3).value(row);
                said.late += number(4).value(row);
                said.latest = said.latest.max(number(5).value(row));
            }
        }
        Ok(all)
    }

    async fn signals(&self, from: i64, until: i64) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
        let sql = format!("select distinct vehicle, signal from signals where {}", within(from, until));
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for batch in self.rows(&sql).await? {
            let (vehicles, signals) = (batch.column(0).as_string_view(), batch.column(1).as_string_view());
            for row in 0..batch.num_rows() {
                all.entry(vehicles.value(row).to_owned()).or_default().insert(signals.value(row).to_owned());
            }
        }
        Ok(all)
    }

    async fn samples(
        &self,
        from: i64,
        until: i64,
        (first, last): &(Option<&str>, Option<&str>),
    ) -> Result<BTreeMap<String, Vec<Sample>>, Error> {
        let inputs: Vec<String> = INPUTS.iter().map(|path| format!("'{path}'")).collect();
        // A vehicle's name has letters and digits only, so it can stand in the text of a query.
        let first = first.map_or(String::new(), |first| format!(" and vehicle > '{first}'"));
        let last = last.map_or(String::new(), |last| format!(" and vehicle <= '{last}'"));
        let sql = format!(
            "select vehicle, signal, time, value from signals where signal in ({}) and value is not null \
             and quality = 'valid' and {}{first}{last}",
            inputs.join(", "),
            within(from, until)
        );
        let mut all: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        for batch in self.rows(&sql).await? {
            let (vehicles, signals) = (batch.column(0).as_string_view(), batch.column(1).as_string_view());
            let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
            let values = batch.column(3).as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                let place = INPUTS.iter().position(|path| *path == signals.value(row));
                let Some(signal) = place.and_then(|place| u8::try_from(place).ok()) else { continue };
                let sample = Sample { time: times.value(row), signal, value: values.value(row) };
                match all.get_mut(vehicles.value(row)) {
                    Some(samples) => samples.push(sample),
                    None => {
                        all.insert(vehicles.value(row).to_owned(), vec![sample]);
                    }
                }
            }
        }
        Ok(all)
    }
}

fn within(from: i64, until: i64) -> String {
    let instant = |at: i64| format!("arrow_cast({at}, 'Timestamp(Microsecond, Some(\"UTC\"))')");
    format!("time >= {} and time < {}", instant(from), instant(until))
}

impl Rows {
    /// What one vehicle's samples, of the day and around it, say of the day.
    fn take(&mut self, vehicle: &str, samples: Vec<Sample>, from: i64, until: i64) {
        let moments = moments(samples);
        let begins_here = |at: i64| (from..until).contains(&at);
        let named = || vehicle.to_owned();
        self.trips.extend(
            trips(&moments)
                .into_iter()
                .filter(|trip| begins_here(trip.started_at))
                .map(|trip| (named(), trip)),
        );
        self.charges.extend(
            charges(&moments)
                .into_iter()
                .filter(|charge| begins_here(charge.started_at))
                .map(|charge| (named(), charge)),
        );
        self.states.extend(states(&moments, from, until).into_iter().map(|state| (named(), state)));
        self.gaps.push((named(), silence(&moments, from, until)));
    }

    fn trips(&self, private: &Private) -> Vec<ArrayRef> {
        let rows = &self.trips;
        vec![
            texts(rows, |(vehicle, _)| Some(vehicle)),
            times(rows, |(_, trip)| trip.started_at),
            times(rows, |(_, trip)| trip.ended_at),
            numbers(rows, |(_, trip)| Some(trip.distance)),
            numbers(rows, |(_, trip)| trip.energy),
            numbers(rows, |(_, trip)| trip.soc_start),
            numbers(rows, |(_, trip)| trip.soc_end),
            numbers(rows, |(_, trip)| Some(trip.speed_max)),
            flags(rows, |(vehicle, trip)| private.overlaps(vehicle, trip.started_at, trip.ended_at)),
        ]
    }

    fn charges(&self) -> Vec<ArrayRef> {
        let rows = &self.charges;
        vec![
            texts(rows, |(vehicle, _)| Some(vehicle)),
            times(rows, |(_, charge)| charge.started_at),
            times(rows, |(_, charge)| charge.ended_at),
            numbers(rows, |(_, charge)| charge.energy),
            numbers(rows, |(_, charge)| charge.soc_start),
            numbers(rows, |(_, charge)| charge.soc_end),
            numbers(rows, |(_, charge)| charge.power_max),
            texts(rows, |(_, charge)| charge.kind),
            texts(rows, |(_, charge)| charge.curve.as_deref()),
        ]
    }

    fn states(&self) -> Vec<ArrayRef> {
        let rows = &self.states;
        vec![
            texts(rows, |(vehicle, _)| Some(vehicle)),
            times(rows, |(_, state)| state.from),
            times(rows, |(_, state)| state.until),
            texts(rows, |(_, state)| Some(state.state)),
        ]
    }

    fn battery(&self) -> Vec<ArrayRef> {
        let rows: Vec<(&String, &Charge, f64)> = self
            .charges
            .iter()
            .filter_map(|(vehicle, charge)| Some((vehicle, charge, charge.capacity()?)))
            .collect();
        let rise = |charge: &Charge| Some(charge.soc_end? - charge.soc_start?);
        vec![
            texts(&rows, |(vehicle, ..)| Some(vehicle.as_str())),
            times(&rows, |(_, charge, _)| charge.ended_at),
            numbers(&rows, |(_, charge, _)| charge.odometer),
            numbers(&rows, |(_, _, capacity)| Some(*capacity)),
            numbers(&rows, |(_, charge, _)| rise(charge)),
        ]
    }

    fn gaps(
        &self,
        from: i64,
        said: &BTreeMap<String, Said>,
        before: &BTreeMap<String, BTreeSet<String>>,
    ) -> Vec<ArrayRef> {
        struct Gap<'a> {
            vehicle: &'a str,
            silence: Silence,
            rows: i64,
            late: i64,
            latest: i64,
            lost: Vec<&'a str>,
        }
        let silences: BTreeMap<&str, Silence> =
            self.gaps.iter().map(|(vehicle, silence)| (vehicle.as_str(), *silence)).collect();
        let gap = |(vehicle, said): (&'_ String, &'_ Said)| {
            let lost =
                before.get(vehicle).into_iter().flatten().filter(|signal| !said.signals.contains(*signal));
            (vehicle.clone(), lost.map(String::as_str).collect::<Vec<_>>())
        };
        let lost: BTreeMap<String, Vec<&str>> = said.iter().map(gap).collect();
        let rows: Vec<Gap<'_>> = said
            .iter()
            .map(|(vehicle, said)| Gap {
                vehicle,
                silence: silences.get(vehicle.as_str()).copied().unwrap_or_default(),
                rows: said.rows,
                late: said.late,
                latest: said.latest,
                lost: lost.get(vehicle).cloned().unwrap_or_default(),
            })
            .collect();
        let listed: Vec<Option<String>> = rows
            .iter()
            .map(|gap| {
                let some = &gap.lost[..gap.lost.len().min(LOST_NAMES_MAX)];
                (!some.is_empty()).then(|| serde_json::to_string(some).expect("texts are JSON"))
            })
            .collect();
        vec![
            texts(&rows, |gap| Some(gap.vehicle)),
            times(&rows, |_| from),
            counts(&rows, |gap| gap.rows),
            numbers(&rows, |gap| gap.silence.cadence),
            counts(&rows, |gap| gap.silence.count),
            numbers(&rows, |gap| Some(gap.silence.seconds)),
            numbers(&rows, |gap| Some(gap.silence.longest)),
            numbers(&rows, |gap| Some(gap.silence.distance)),
            counts(&rows, |gap| gap.lost.len() as i64),
            Arc::new(listed.iter().map(Option::as_deref).collect::<StringArray>()),
            counts(&rows, |gap| gap.late),
            numbers(&rows, |gap| Some(gap.latest as f64 / 1e6)),
        ]
    }

    fn daily(&self, from: i64, said: &BTreeMap<String, Said>, owners: &OwnersOfDay) -> Vec<ArrayRef> {
        #[derive(Default)]
        struct Sum {
            owners: BTreeSet<u32>,
            vehicles: i64,
            rows: i64,
            trips: i64,
            distance: f64,
            energy: f64,
            charges: i64,
            charged: f64,
        }
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        for (vehicle, said) in said {
            let sum = sums.entry(&said.source).or_default();
            sum.owners.extend(owners.get(vehicle).into_iter().flatten());
            sum.vehicles += 1;
            sum.rows += said.rows;
        }
        let source = |vehicle: &String| said.get(vehicle).map(|said| said.source.as_str());
        for (vehicle, trip) in &self.trips {
            let Some(sum) = source(vehicle).and_then(|source| sums.get_mut(source)) else { continue };
            sum.trips += 1;
            sum.distance += trip.distance;
            sum.energy += trip.energy.unwrap_or(0.0);
        }
        for (vehicle, charge) in &self.charges {
            let Some(sum) = source(vehicle).and_then(|source| sums.get_mut(source)) else { continue };
            sum.charges += 1;
            sum.charged += charge.energy.unwrap_or(0.0);
        }
        let rows: Vec<(&str, Sum)> = sums.into_iter().collect();
        vec![
            times(&rows, |_| from),
            texts(&rows, |(source, _)| Some(*source)),
            counts(&rows, |(_, sum)| sum.vehicles),
            counts(&rows, |(_, sum)| sum.rows),
            counts(&rows, |(_, sum)| sum.trips),
            numbers(&rows, |(_, sum)| Some(sum.distance)),
            numbers(&rows, |(_, sum)| Some(sum.energy)),
            counts(&rows, |(_, sum)| sum.charges),
            numbers(&rows, |(_, sum)| Some(sum.charged)),
            Arc::new(rows.iter().map(|(_, sum)| shown(sum.owners.len())).collect::<Int64Array>()),
        ]
    }
}

/// A count of owners as anybody may see it.
fn shown(owners: usize) -> Option<i64> {
    i64::try_from(owners).ok().filter(|count| *count == 0 || *count >= OWNERS_MIN)
}

fn texts<T>(rows: &[T], of: impl Fn(&T) -> Option<&str>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<StringArray>())
}

fn times<T>(rows: &[T], of: impl Fn(&T) -> i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(of)).with_timezone("UTC"))
}

fn numbers<T>(rows: &[T], of: impl Fn(&T) -> Option<f64>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<Float64Array>())
}

fn flags<T>(rows: &[T], of: impl Fn(&T) -> bool) -> ArrayRef {
    Arc::new(rows.iter().map(|row| Some(of(row))).collect::<BooleanArray>())
}

fn counts<T>(rows: &[T], of: impl Fn(&T) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(of)))
}
