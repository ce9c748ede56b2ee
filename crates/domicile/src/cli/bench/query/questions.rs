//! The ten questions: what people ask of a month of a fleet.

/// A question, in the words that both engines understand unless they differ.
pub(super) struct Question {
    /// A word for it.
    pub(super) name: &'static str,
    /// Our SQL. `{day}` is a day in the middle of the month, `{next}` the day after it, `{week}` the day a week after it, `{vehicle}` a vehicle.
    sql: &'static str,
    /// DuckDB's SQL, where it is another.
    duckdb: Option<&'static str>,
}

/// Every question orders its rows, so that answers can be compared.
pub(super) const QUESTIONS: [Question; 10] = [
    Question {
        name: "last state of each vehicle",
        sql: "SELECT vehicle, signal, last_value(value ORDER BY time) AS value FROM signals \
              WHERE signal IN ('Vehicle.Speed', 'Vehicle.TraveledDistance', \
              'Vehicle.Powertrain.TractionBattery.StateOfCharge.Current') AND value IS NOT NULL \
              GROUP BY vehicle, signal ORDER BY vehicle, signal",
        duckdb: Some(
            "SELECT vehicle, signal, arg_max(value, time) AS value FROM signals \
             WHERE signal IN ('Vehicle.Speed', 'Vehicle.TraveledDistance', \
             'Vehicle.Powertrain.TractionBattery.StateOfCharge.Current') AND value IS NOT NULL \
             GROUP BY vehicle, signal ORDER BY vehicle, signal",
        ),
    },
    Question {
        name: "speed histogram of the month",
        sql: "SELECT floor(value / 10) AS tens, count(*) AS n FROM signals \
              WHERE signal = 'Vehicle.Speed' AND value IS NOT NULL GROUP BY 1 ORDER BY 1",
        duckdb: None,
    },
    Question {
        name: "charge curves of a week",
        sql: "SELECT floor(s.value / 5) AS fives, count(*) AS n, avg(v.value * c.value) AS watts \
              FROM signals s JOIN signals v ON v.vehicle = s.vehicle AND v.time = s.time \
              JOIN signals c ON c.vehicle = s.vehicle AND c.time = s.time \
              WHERE s.signal = 'Vehicle.Powertrain.TractionBattery.StateOfCharge.Current' \
              AND v.signal = 'Vehicle.Powertrain.TractionBattery.CurrentVoltage' \
              AND c.signal = 'Vehicle.Powertrain.TractionBattery.CurrentCurrent' AND c.value > 0 \
              AND s.time >= TIMESTAMP '{day}T00:00:00Z' AND s.time < TIMESTAMP '{week}T00:00:00Z' \
              AND v.time >= TIMESTAMP '{day}T00:00:00Z' AND v.time < TIMESTAMP '{week}T00:00:00Z' \
              AND c.time >= TIMESTAMP '{day}T00:00:00Z' AND c.time < TIMESTAMP '{week}T00:00:00Z' \
              GROUP BY 1 ORDER BY 1",
        duckdb: None,
    },
    Question {
        name: "trips of a day",
        sql: "SELECT vehicle, count(*) AS n, sum(distance) AS km, sum(energy) AS kwh, max(speed_max) AS kmh FROM trips \
              WHERE started_at >= TIMESTAMP '{day}T00:00:00Z' AND started_at < TIMESTAMP '{next}T00:00:00Z' \
              GROUP BY vehicle ORDER BY vehicle",
        duckdb: None,
    },
    Question {
        name: "top signals",
        sql: "SELECT signal, count(*) AS n, count(DISTINCT vehicle) AS vehicles FROM signals \
              GROUP BY signal ORDER BY n DESC, signal LIMIT 20",
        duckdb: None,
    },
    Question {
        name: "gaps over ten minutes",
        sql: "SELECT vehicle, count(*) AS n, max(gap) AS longest FROM (SELECT vehicle, date_part('epoch', time) \
              - date_part('epoch', lag(time) OVER (PARTITION BY vehicle ORDER BY time)) AS gap FROM signals \
              WHERE signal = 'Vehicle.Speed') AS pauses WHERE gap > 600 GROUP BY vehicle ORDER BY vehicle",
        duckdb: None,
    },
    Question {
        name: "distance by place of sale",
        sql: "SELECT s.city, count(*) AS vehicles, sum(d.km) AS km FROM (SELECT vehicle, max(value) - min(value) AS km \
              FROM signals WHERE signal = 'Vehicle.TraveledDistance' GROUP BY vehicle) AS d \
              JOIN sales s ON s.vehicle = d.vehicle GROUP BY s.city ORDER BY s.city",
        duckdb: None,
    },
    Question {
        name: "a vehicle's day",
        sql: "SELECT signal, count(*) AS n, min(value) AS least, avg(value) AS mean, max(value) AS most FROM signals \
              WHERE vehicle = '{vehicle}' AND time >= TIMESTAMP '{day}T00:00:00Z' AND time < TIMESTAMP '{next}T00:00:00Z' \
              GROUP BY signal ORDER BY signal",
        duckdb: None,
    },
    Question {
        name: "warmest cell by vehicle and day",
        sql: "SELECT vehicle, date_part('epoch', date_trunc('day', time)) AS day, max(value) AS most, avg(value) AS mean \
              FROM signals WHERE signal = 'Vehicle.Powertrain.TractionBattery.Temperature.Max' \
              GROUP BY 1, 2 ORDER BY 1, 2",
        duckdb: None,
    },
    Question {
        name: "rows by source and quality",
        sql: "SELECT source, quality, count(*) AS n, count(value) AS numbers, count(text) AS texts FROM signals \
              GROUP BY source, quality ORDER BY source, quality",
        duckdb: None,
    },
];

/// What the questions ask about.
pub(super) struct About {
    /// A day in the middle, `YYYY-MM-DD`.
    pub(super) day: String,
    /// The day after it.
    pub(super) next: String,
    /// The day a week after it.
    pub(super) week: String,
    /// A vehicle's pseudonym.
    pub(super) vehicle: String,
}

impl Question {
    /// Our SQL.
    pub(super) fn ours(&self, about: &About) -> String {
        filled(self.sql, about)
    }

    /// DuckDB's SQL.
    pub(super) fn duckdb(&self, about: &About) -> String {
        filled(self.duckdb.unwrap_or(self.sql), about).replace("TIMESTAMP '", "TIMESTAMPTZ '")
    }
}

fn filled(sql: &str, about: &About) -> String {
    let words = [
        ("{day}", &about.day),
        ("{next}", &about.next),
        ("{week}", &about.week),
        ("{vehicle}", &about.vehicle),
    ];
    words.into_iter().fold(sql.to_owned(), |sql, (word, value)| sql.replace(word, value))
}
