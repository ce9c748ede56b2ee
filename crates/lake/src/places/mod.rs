//! Names of places: which province a place lies in, and which city is near, from data that comes with the program.
//!
//! The data is Natural Earth's, in the public domain; `data/README.md` says how it was made and how exact it is. It is read when a place
//! is first asked for.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

/// A city that is farther away than this is not where somebody is: half a day's drive in the thinly peopled west, and few places of the
/// east have no city of the data within a third of it.
const CITY_KM_MAX: f64 = 100.0;

/// Kilometres of a degree of latitude.
const KM_A_DEGREE: f64 = 111.195;

/// Cities' coordinates are thousandths of a degree.
const SCALE: f64 = 1_000.0;

/// Borders' coordinates are hundredths of a degree.
const BORDER_SCALE: f64 = 100.0;

/// In which language a place is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// As the data has it in Latin letters.
    English,
    /// In Chinese characters, where the data has that.
    Chinese,
}

impl Language {
    /// By its ISO 639-1 code.
    pub(crate) fn of(code: &str) -> Option<Self> {
        match code {
            "en" => Some(Self::English),
            "zh" => Some(Self::Chinese),
            _ => None,
        }
    }
}

/// A place with its names, English first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    english: &'static str,
    chinese: &'static str,
}

impl Named {
    /// In a language.
    pub(crate) fn name(&self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::Chinese => self.chinese,
        }
    }
}

/// The province (state, region: the first level below the country) that a place lies in: degrees north and east, WGS-84. Where none is drawn, that
/// of the nearest city. `None` at sea, far from cities, and for what is no place.
pub(crate) fn province(latitude: f64, longitude: f64) -> Option<Named> {
    if let Some(province) = ATLAS.province(latitude, longitude) {
        return Some(province.named);
    }
    ATLAS.city(latitude, longitude, None).map(|city| {
        // A place just off a drawn coast or border belongs to the province of the city.
        let drawn = ATLAS.provinces.iter().find(|province| province.code == city.province);
        drawn.map_or(Named { english: city.province, chinese: city.province }, |province| province.named)
    })
}

/// The nearest city or town within [`CITY_KM_MAX`], in the same province where provinces are drawn: degrees north and east, WGS-84.
pub(crate) fn city(latitude: f64, longitude: f64) -> Option<Named> {
    let within = ATLAS.province(latitude, longitude).map(|province| province.code);
    Some(ATLAS.city(latitude, longitude, within)?.named)
}

struct Province {
    code: &'static str,
    named: Named,
    /// The least and the greatest longitude and latitude.
    bounds: [f32; 4],
    /// Rings of points: longitude, latitude.
    rings: Vec<Vec<(f32, f32)>>,
}

struct City {
    latitude: f64,
    longitude: f64,
    province: &'static str,
    named: Named,
}

struct Atlas {
    provinces: Vec<Province>,
    /// By latitude.
    cities: Vec<City>,
}

static ATLAS: LazyLock<Atlas> = LazyLock::new(|| {
    Atlas::read(include_str!("../../data/provinces.tsv"), include_str!("../../data/cities.tsv"))
        .expect("the data that comes with the program is as its README says")
});

impl Atlas {
    fn read(provinces: &'static str, cities: &'static str) -> Option<Self> {
        let provinces = provinces.lines().map(Province::read).collect::<Option<_>>()?;
        let cities: Vec<City> = cities.lines().map(City::read).collect::<Option<_>>()?;
        cities.is_sorted_by(|a, b| a.latitude <= b.latitude).then_some(Self { provinces, cities })
    }

    fn province(&self, latitude: f64, longitude: f64) -> Option<&Province> {
        self.provinces.iter().find(|province| province.holds(longitude as f32, latitude as f32))
    }

    fn city(&self, latitude: f64, longitude: f64, within: Option<&str>) -> Option<&City> {
        if !latitude.is_finite() || !longitude.is_finite() {
            return None;
        }
        let reach = CITY_KM_MAX / KM_A_DEGREE;
        let begin = self.cities.partition_point(|city| city.latitude < latitude - reach);
        let near = self.cities[begin..].iter().take_while(|city| city.latitude <= latitude + reach);
        let shrink = latitude.to_radians().cos();
        let distance = |city: &City| {
            // The short way around the date line.
            let east = (city.longitude - longitude + 540.0).rem_euclid(360.0) - 180.0;
            (city.latitude - latitude).hypot(east * shrink) * KM_A_DEGREE
        };
        near.filter(|city| within.is_none_or(|within| city.province == within))
            .map(|city| (distance(city), city))
            .filter(|(km, _)| *km <= CITY_KM_MAX)
            .min_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, city)| city)
    }
}

impl Province {
    fn read(line: &'static str) -> Option<Self> {
        let mut cells = line.split('\t');
        let (code, english, chinese, drawn) = (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
        let rings: Vec<Vec<(f32, f32)>> = drawn.split(';').map(ring).collect::<Option<_>>()?;
        let mut bounds = [f32::MAX, f32::MIN, f32::MAX, f32::MIN];
        for (x, y) in rings.iter().flatten() {
            bounds = [bounds[0].min(*x), bounds[1].max(*x), bounds[2].min(*y), bounds[3].max(*y)];
        }
        Some(Self { code, named: Named { english, chinese }, bounds, rings })
    }

    /// Whether a point lies in an odd number of its rings.
    fn holds(&self, x: f32, y: f32) -> bool {
        let [left, right, bottom, top] = self.bounds;
        if !(left..=right).contains(&x) || !(bottom..=top).contains(&y) {
            return false;
        }
        let crosses = |pair: &[(f32, f32)]| {
            let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
            (y1 > y) != (y2 > y) && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1
        };
        let crossed = self.rings.iter().flat_map(|ring| ring.windows(2)).filter(|pair| crosses(pair)).count();
        crossed % 2 == 1
    }
}

/// A ring's points: the first in hundredths of a degree, each further one as its difference from the one before.
fn ring(drawn: &str) -> Option<Vec<(f32, f32)>> {
    let (mut x, mut y) = (0_i32, 0_i32);
    let step = |text: &str| {
        let (east, north) = text.split_once(',')?;
        x = x.checked_add(east.parse().ok()?)?;
        y = y.checked_add(north.parse().ok()?)?;
        let degrees = |hundredths: i32| (f64::from(hundredths) / BORDER_SCALE) as f32;
        Some((degrees(x), degrees(y)))
    };
    drawn.split(' ').map(step).collect()
}

impl City {
    fn read(line: &'static str) -> Option<Self> {
        let mut cells = line.split('\t');
        let mut degrees = || Some(cells.next()?.parse::<f64>().ok()? / SCALE);
        let (latitude, longitude) = (degrees()?, degrees()?);
        let _country = cells.next()?;
        let (province, english, chinese) = (cells.next()?, cells.next()?, cells.next()?);
        Some(Self { latitude, longitude, province, named: Named { english, chinese } })
    }
}
