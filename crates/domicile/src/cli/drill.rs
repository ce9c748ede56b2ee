//! `domicile center drill`: lets a center be lost for a while, and tells what that came to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use model::CenterName;
use serde::Serialize;

use super::client::{Client, converse};
use super::query::{Sink, receive};
use super::{Format, Usage};
use crate::api::centers::{CentersView, DrillView, NewDrill};
use crate::api::query::Question;
use crate::center::Center;
use crate::world::World;

/// How often the center is asked whether it is over.
const LOOK_TIME: Duration = Duration::from_millis(500);
/// How long copies of other centers may take to catch up after it, beside the age of a batch: some rounds.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(60);

/// What a drill came to.
#[derive(Debug, Serialize)]
struct Report {
    center: String,
    began_at: String,
    over_at: String,
    /// Vehicles that were connected, those that were heard at another center meanwhile, and those heard again only after it.
    vehicles: usize,
    moved: usize,
    waited: usize,
    /// Recovery time: until a vehicle was heard at another center, in seconds; none where no vehicle was.
    rto_s_p50: Option<f64>,
    rto_s_max: Option<f64>,
    /// Recovery point: what a real loss would have taken with it.
    rpo_frames: u64,
    rpo_entries: u64,
}

/// Seconds after which vehicles were first heard.
#[derive(Default)]
struct First(BTreeMap<String, f64>);

impl Sink for First {
    fn begin(&mut self, _schema: SchemaRef) -> anyhow::Result<()> {
        Ok(())
    }

    fn rows(&mut self, batch: RecordBatch) -> anyhow::Result<()> {
        let vehicles = cast(batch.column(0), &DataType::Utf8)?;
        let times = batch.column(1).as_primitive_opt::<Float64Type>().context("seconds are numbers")?;
        let vehicles = vehicles.as_string::<i32>();
        self.0.extend(
            vehicles.iter().zip(times.iter()).filter_map(|(vehicle, at)| Some((vehicle?.to_owned(), at?))),
        );
        Ok(())
    }
}

pub(super) fn run(
    name: &CenterName,
    time: Duration,
    format: Format,
    folder: &Path,
    world: &World,
) -> anyhow::Result<()> {
    let center = Center::open(folder, world)?;
    let own = center.genesis.center();
    if *name != own {
        return Err(Usage(format!(
            "a drill stops the center that it is ordered at: {folder:?} is that of {own}, not of {name}"
        ))
        .into());
    }
    let seconds = u32::try_from(time.as_secs()).context("--for")?;
    let batch_age = Duration::from_millis(center.settings.store.batch_age_ms_max);
    let report = converse(async {
        let mut client = Client::open(folder, world).await?;
        let begun: DrillView = client.post("/api/drill", &NewDrill { seconds }).await?;
        if format == Format::Table {
            say!(
                "{own} is not there any more for {} vehicles and for other centers, until it comes back in {seconds} s.",
                begun.vehicles.len()
            );
        }
        let over = loop {
            tokio::time::sleep(LOOK_TIME).await;
            let view: DrillView = client.get("/api/drill").await?;
            ensure!(view.began_at == begun.began_at, "another drill was begun");
            if view.over_at.is_some() {
                break view;
            }
        };
        // What others have received comes with their batches.
        tokio::time::sleep(batch_age * 2).await;
        let mut waited = Duration::ZERO;
        loop {
            let centers: CentersView = client.get("/api/centers").await?;
            if centers.copies.iter().all(|copy| copy.problem.is_empty() && copy.held == copy.head) {
                break;
            }
            ensure!(
                waited < SETTLE_TIME_MAX,
                "the drill is over, but the copies of other centers do not catch up: `domicile center list`"
            );
            tokio::time::sleep(LOOK_TIME).await;
            waited += LOOK_TIME;
        }
        tell(&mut client, begun, over).await
    })?;
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    let Report { began_at, over_at, vehicles, moved, waited, .. } = &report;
    say!("Drill of {own}, {began_at} to {over_at}:");
    say!(
        "  vehicles    {vehicles} were connected; {moved} were heard at other centers meanwhile, {waited} only after it"
    );
    match (report.rto_s_p50, report.rto_s_max) {
        (Some(half), Some(most)) => {
            say!("  RTO         {half:.1} s for half of those that moved, {most:.1} s for the last")
        }
        _ => say!("  RTO         no vehicle was heard elsewhere"),
    }
    say!(
        "  RPO         {} frames and {} entries of the log lay here alone when it began",
        report.rpo_frames,
        report.rpo_entries
    );
    Ok(())
}

async fn tell(client: &mut Client, begun: DrillView, over: DrillView) -> anyhow::Result<Report> {
    let over_at = over.over_at.context("it is over")?;
    let began_at = begun.began_at.clone();
    let first = async |client: &mut Client, until: &str| {
        let sql = format!(
            "select vehicle, extract(epoch from min(received_at)) - extract(epoch from timestamp '{began_at}')
             from signals where received_at >= timestamp '{began_at}' {until} group by vehicle"
        );
        let mut first = First::default();
        receive(client.stream("/api/query", &Question::new(sql)).await?.body, &mut first).await?;
        anyhow::Ok(first.0)
    };
    let meanwhile = first(client, &format!("and received_at < timestamp '{over_at}'")).await?;
    let ever = first(client, "").await?;
    let heard = begun.vehicles.iter().filter(|vehicle| ever.contains_key(*vehicle)).count();
    let mut moved: Vec<f64> =
        begun.vehicles.iter().filter_map(|vehicle| meanwhile.get(vehicle).copied()).collect();
    moved.sort_by(f64::total_cmp);
    Ok(Report {
        center: begun.center,
        began_at: begun.began_at,
        over_at,
        vehicles: begun.vehicles.len(),
        moved: moved.len(),
        waited: heard - moved.len(),
        rto_s_p50: moved.get(moved.len() / 2).copied(),
        rto_s_max: moved.last().copied(),
        rpo_frames: begun.frames_only_here,
        rpo_entries: begun.entries_only_here,
    })
}
