//! Functions of SQL that are ours: names of places, and the coordinates of Chinese maps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringBuilder};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::cast::as_string_array;
use datafusion::common::{exec_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use model::{gcj02_to_wgs84, wgs84_to_gcj02};

use crate::places::{Language, city, province};

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let function = |name, does| Arc::new(ScalarUDF::from(Function::new(name, does)));
    [
        ("province", Does::Province),
        ("city", Does::City),
        ("gcj02_latitude", Does::Gcj02(Axis::North)),
        ("gcj02_longitude", Does::Gcj02(Axis::East)),
        ("wgs84_latitude", Does::Wgs84(Axis::North)),
        ("wgs84_longitude", Does::Wgs84(Axis::East)),
    ]
    .into_iter()
    .map(move |(name, does)| function(name, does))
}

/// What a function makes of degrees north and east.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Does {
    Province,
    City,
    /// One of its coordinates on Chinese maps, of a place in WGS-84.
    Gcj02(Axis),
    /// The way back.
    Wgs84(Axis),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Axis {
    North,
    East,
}

impl Axis {
    fn of(self, (north, east): (f64, f64)) -> f64 {
        match self {
            Self::North => north,
            Self::East => east,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    does: Does,
    signature: Signature,
}

impl Function {
    fn new(name: &'static str, does: Does) -> Self {
        let degrees = vec![DataType::Float64, DataType::Float64];
        let with_language = [degrees.clone(), vec![DataType::Utf8]].concat();
        let signature = match does {
            Does::Gcj02(_) | Does::Wgs84(_) => Signature::exact(degrees, Volatility::Immutable),
            Does::Province | Does::City => Signature::one_of(
                vec![TypeSignature::Exact(degrees), TypeSignature::Exact(with_language)],
                Volatility::Immutable,
            ),
        };
        Self { name, does, signature }
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.does {
            Does::Province | Does::City => DataType::Utf8,
            Does::Gcj02(_) | Does::Wgs84(_) => DataType::Float64,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let (Some(north), Some(east)) = (degrees(&arrays, 0), degrees(&arrays, 1)) else {
            return internal_err!("{} takes degrees", self.name);
        };
        let places = north.iter().zip(east).map(|(north, east)| north.zip(east));
        let answer: ArrayRef = match self.does {
            Does::Gcj02(axis) => turned(places, |north, east| axis.of(wgs84_to_gcj02(north, east))),
            Does::Wgs84(axis) => turned(places, |north, east| axis.of(gcj02_to_wgs84(north, east))),
            Does::Province | Does::City => {
                let named = if self.does == Does::City { city } else { province };
                let language = language(self.name, arrays.get(2))?;
                let mut names = StringBuilder::new();
                // Rows that follow one another are often of one place, above all where places are cells.
                let mut last = (None, None);
                for place in places {
                    if last.0 != place {
                        last = (place, place.and_then(|(north, east)| named(north, east)));
                    }
                    names.append_option(last.1.map(|named| named.name(language)));
                }
                Arc::new(names.finish())
            }
        };
        Ok(ColumnarValue::Array(answer))
    }
}

fn turned(places: impl Iterator<Item = Option<(f64, f64)>>, turn: impl Fn(f64, f64) -> f64) -> ArrayRef {
    Arc::new(places.map(|place| place.map(|(north, east)| turn(north, east))).collect::<Float64Array>())
}

fn degrees(arrays: &[ArrayRef], place: usize) -> Option<&Float64Array> {
    arrays.get(place)?.as_primitive_opt::<Float64Type>()
}

/// English, unless another is asked for; one for all rows.
fn language(function: &str, codes: Option<&ArrayRef>) -> Result<Language> {
    let Some(codes) = codes else { return Ok(Language::English) };
    let codes = as_string_array(codes)?;
    let code = if codes.is_empty() || codes.is_null(0) { "en" } else { codes.value(0) };
    let is_one = codes.iter().all(|other| other.unwrap_or("en") == code);
    match Language::of(code) {
        Some(language) if is_one => Ok(language),
        _ => exec_err!("{function}: the language is 'en' or 'zh', and one for all rows"),
    }
}
