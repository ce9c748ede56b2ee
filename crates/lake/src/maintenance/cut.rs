//! Where files are cut by vehicle: which rows of which file go into which.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// What goes into one file of what files are cut into: the place of a file among them, and rows of it that lie side by side.
pub(super) type Slice = Vec<(usize, Range<usize>)>;

/// Rows of a file that lie side by side, in the order of their vehicles. A file that was put in order is one stretch; one that holds what
/// vehicles sent as it was written is one for each of its row groups.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The file's place among those that are cut.
    file: usize,
    /// Its first row in the file.
    row: usize,
    /// Its vehicles with how many rows each has.
    vehicles: VecDeque<(String, usize)>,
}

impl Stretch {
    /// The stretches of a file, by the runs of its vehicles: each vehicle with how many rows follow one another.
    pub(super) fn all(file: usize, runs: Vec<(String, usize)>) -> Vec<Self> {
        let mut stretches: Vec<Self> = Vec::new();
        let mut row = 0;
        for (vehicle, count) in runs {
            match stretches.last_mut() {
                Some(last) if last.vehicles.back().is_some_and(|(before, _)| *before < vehicle) => {
                    last.vehicles.push_back((vehicle, count));
                }
                _ => stretches.push(Self { file, row, vehicles: VecDeque::from([(vehicle, count)]) }),
            }
            row += count;
        }
        stretches
    }

    /// Takes the rows of all vehicles before one; of all where there is none.
    fn take_before(&mut self, vehicle: Option<&str>) -> Range<usize> {
        let begin = self.row;
        while let Some((_, count)) =
            self.vehicles.pop_front_if(|(next, _)| vehicle.is_none_or(|vehicle| next.as_str() < vehicle))
        {
            self.row += count;
        }
        begin..self.row
    }
}

/// Cuts stretches of some files between vehicles, so that about as many files come of it as there were, with about as many rows each. The rows of
/// a vehicle that has more than `rows_max`, which may be sorted at a time, go into several.
pub(super) fn cut(mut stretches: Vec<Stretch>, files: usize, rows_max: u64) -> Vec<Slice> {
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for (vehicle, count) in stretches.iter().flat_map(|stretch| &stretch.vehicles) {
        *rows.entry(vehicle.clone()).or_default() += *count as u64;
    }
    let share = (rows.values().sum::<u64>() / files.max(1) as u64).clamp(1, rows_max);
    // The first vehicle of each slice but the first one.
    let mut cuts: Vec<&str> = Vec::new();
    let mut sum = 0;
    for (vehicle, count) in &rows {
        // Cut where that is nearer to the share, and never beyond what may be sorted at a time.
        if sum > 0 && (sum + count / 2 > share || sum + count > rows_max) {
            cuts.push(vehicle);
            sum = 0;
        }
        sum += count;
    }
    let mut slices: Vec<Slice> = Vec::new();
    for cut in cuts.into_iter().map(Some).chain(std::iter::once(None)) {
        let mut slice = Slice::new();
        let mut rows = 0;
        for stretch in &mut stretches {
            let taken = stretch.take_before(cut);
            if taken.is_empty() {
                continue;
            }
            if rows > 0 && rows + taken.len() as u64 > rows_max {
                slices.push(std::mem::take(&mut slice));
                rows = 0;
            }
            rows += taken.len() as u64;
            slice.push((stretch.file, taken));
        }
        if !slice.is_empty() {
            slices.push(slice);
        }
    }
    slices
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::{Stretch, cut};

    /// A small generator, so that a failure can be made again.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % sides
        }
    }

    /// Runs of vehicles as they lie in a file of one or several row groups.
    fn runs(dice: &mut Dice) -> Vec<(String, usize)> {
        let mut runs = Vec::new();
        for _ in 0..=dice.roll(3) {
            for vehicle in 0..20 {
                if dice.roll(3) > 0 {
                    let most = if vehicle == 7 { 400 } else { 30 };
                    runs.push((format!("v{vehicle:02}"), 1 + dice.roll(most) as usize));
                }
            }
        }
        runs
    }

    #[test]
    fn each_row_goes_into_one_file_and_each_vehicle_into_few() {
        for seed in 0..500 {
            let mut dice = Dice(seed);
            let files: Vec<_> = (0..=dice.roll(16)).map(|_| runs(&mut dice)).collect();
            let rows_max = 100 + dice.roll(400);
            // Whose each row is.
            let whose: Vec<Vec<&str>> = files
                .iter()
                .map(|runs| {
                    runs.iter().flat_map(|(name, count)| std::iter::repeat_n(name.as_str(), *count)).collect()
                })
                .collect();
            let stretches =
                files.iter().enumerate().flat_map(|(file, runs)| Stretch::all(file, runs.clone()));
            let slices = cut(stretches.collect(), files.len(), rows_max);

            let mut taken: Vec<Vec<bool>> = whose.iter().map(|rows| vec![false; rows.len()]).collect();
            let mut slices_of: BTreeMap<&str, usize> = BTreeMap::new();
            for slice in &slices {
                let rows: u64 = slice.iter().map(|(_, rows)| rows.len() as u64).sum();
                let vehicles: BTreeSet<&str> = slice
                    .iter()
                    .flat_map(|(file, rows)| whose[*file][rows.clone()].iter().copied())
                    .collect();
                assert!(
                    rows <= rows_max || slice.len() == 1 && vehicles.len() == 1,
                    "seed {seed}: {rows} rows"
                );
                vehicles.iter().for_each(|vehicle| *slices_of.entry(vehicle).or_default() += 1);
                for (file, rows) in slice {
                    for row in rows.clone() {
                        assert!(!std::mem::replace(&mut taken[*file][row], true), "seed {seed}: twice");
                    }
                }
            }
            assert!(taken.iter().flatten().all(|taken| *taken), "seed {seed}: a row is lost");
            for (vehicle, slices) in slices_of {
                let rows = whose.iter().flatten().filter(|of| **of == vehicle).count() as u64;
                // Where a vehicle has too many, two files that follow one another hold more than one may.
                let most = if rows <= rows_max { 1 } else { 2 * rows / rows_max + 1 };
                assert!(slices as u64 <= most, "seed {seed}: {vehicle} in {slices} files");
            }
        }
    }
}
