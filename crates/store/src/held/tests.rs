use std::path::Path;
use std::sync::Arc;

use model::{ConnectionId, Frame, KeyPeriod, Protocol, Sequence, UtcMicros, VehicleId};

use super::{HeldBlock, HeldFrames};
use crate::Error;
use crate::faults::{Faults, FaultyDisk, Survivors};
use crate::journal::put_record;

fn body(first: u64, last: u64) -> Vec<u8> {
    let mut body = Vec::new();
    for sequence in first..=last {
        let frame = Frame {
            received_at: UtcMicros(5),
            vehicle: VehicleId::NONE,
            key: KeyPeriod(0),
            protocol: Protocol::Center,
            connection: ConnectionId(1),
            bytes: &sequence.to_le_bytes(),
        };
        put_record(&mut body, &frame, frame.received_at);
    }
    body
}

fn hold(held: &mut HeldFrames, blocks: &[(u64, u64)]) -> Result<(), Error> {
    let bodies: Vec<_> = blocks.iter().map(|(first, last)| body(*first, *last)).collect();
    let blocks: Vec<_> = blocks
        .iter()
        .zip(&bodies)
        .map(|((first, last), body)| HeldBlock { first: Sequence(*first), last: Sequence(*last), body })
        .collect();
    held.hold(&blocks)
}

fn open(disk: &FaultyDisk) -> HeldFrames {
    HeldFrames::open(Arc::new(disk.clone()), Path::new("/held/shanghai-1/gw"), 64 << 10).expect("it opens")
}

fn frames(held: &HeldFrames, after: u64) -> Vec<u64> {
    let mut frames = Vec::new();
    let visit = |sequence: Sequence, frame: Frame<'_>| {
        assert_eq!(frame.bytes, sequence.0.to_le_bytes());
        frames.push(sequence.0);
        Ok::<_, Error>(())
    };
    held.frames(Sequence(after), visit).expect("read");
    frames
}

#[test]
fn what_is_held_comes_back_once_in_order_until_it_is_released() {
    let disk = FaultyDisk::default();
    let mut held = open(&disk);
    hold(&mut held, &[(3, 5), (6, 6)]).expect("held");
    hold(&mut held, &[(3, 5), (6, 6), (7, 9)]).expect("held again, and more");
    let mut held = open(&disk);
    assert_eq!((held.through(), frames(&held, 0)), (Sequence(9), (3..=9).collect()));
    hold(&mut held, &[(10, 12)]).expect("held");
    assert_eq!(frames(&held, 7), [8, 9, 10, 11, 12]);
    held.release(Sequence(9)).expect("released");
    assert_eq!(frames(&held, 0), [10, 11, 12]);
    held.release(Sequence(12)).expect("released");
    assert_eq!((disk.paths().len(), held.bytes()), (0, 0));
    assert_eq!(held.through(), Sequence(12));
}

/// A journal whose disk was set back or replaced gives the same numbers to other frames: none of them is said to be held.
#[test]
fn frames_of_another_journal_are_not_taken_for_those_that_are_held() {
    let disk = FaultyDisk::default();
    let mut held = open(&disk);
    hold(&mut held, &[(3, 5), (6, 9)]).expect("held");
    let other = body(103, 105);
    let block = |first, last| HeldBlock { first: Sequence(first), last: Sequence(last), body: &other };
    for mut held in [held, open(&disk)] {
        for (first, last) in [(3, 5), (4, 6), (5, 7), (9, 11)] {
            let refused = held.hold(&[block(first, last)]);
            assert!(matches!(refused, Err(Error::OtherJournal { .. })), "{first} to {last}");
        }
        assert_eq!(frames(&held, 0), (3..=9).collect::<Vec<_>>());
        hold(&mut held, &[(6, 9)]).expect("the same again");
    }
    let mut held = open(&disk);
    held.hold(&[block(10, 12)]).expect("what follows is new");
}

#[test]
fn what_was_said_to_be_held_survives_a_power_cut_and_a_failing_disk() {
    let disk = FaultyDisk::default();
    let mut held = open(&disk);
    let mut next = 1;
    for round in 0..40_u64 {
        let last = next + round % 5;
        disk.set_faults(match round % 7 {
            3 => Faults { syncs: 1, ..Faults::default() },
            5 => Faults { writes: 1, ..Faults::default() },
            _ => Faults::default(),
        });
        let middle = next + (last - next) / 2;
        let blocks =
            if middle < last { vec![(next, middle), (middle + 1, last)] } else { vec![(next, last)] };
        if hold(&mut held, &blocks).is_ok() {
            disk.mark(last);
            next = last + 1;
        } else {
            assert_eq!(held.through(), Sequence(next - 1));
            // A start now does not take it for held either.
            assert_eq!(open(&disk).through(), Sequence(next - 1), "round {round}");
        }
    }
    for cut in 0..=disk.steps() {
        let said = disk.marks(cut).into_iter().max().unwrap_or(0);
        for survivors in [Survivors::None, Survivors::All, Survivors::Seed(cut as u64)] {
            let found = frames(&open(&disk.image(cut, survivors)), 0);
            assert!(found.len() as u64 >= said, "cut {cut}, {survivors:?}: {} of {said}", found.len());
            assert!(found.iter().copied().eq(1..=found.len() as u64), "cut {cut}: each once, in order");
        }
    }
}

#[test]
fn what_is_no_block_or_counts_wrongly_is_refused() {
    let mut text = Vec::new();
    let records = body(1, 3);
    HeldBlock { first: Sequence(1), last: Sequence(3), body: &records }.put(&mut text);
    let (block, rest) = HeldBlock::parse(&text).expect("a block");
    assert_eq!((block.first, block.last, rest.len()), (Sequence(1), Sequence(3), 0));
    for at in 0..text.len() {
        let mut flipped = text.clone();
        flipped[at] ^= 1;
        assert!(HeldBlock::parse(&flipped).is_none(), "byte {at}");
        assert!(HeldBlock::parse(&text[..at]).is_none(), "cut at {at}");
    }
    let mut wrong = Vec::new();
    HeldBlock { first: Sequence(1), last: Sequence(4), body: &records }.put(&mut wrong);
    assert!(HeldBlock::parse(&wrong).is_none());
}
