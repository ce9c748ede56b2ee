//! Manifests: lists that are too long for an entry.

use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::entry::{Commitment, Ground, Label, ObjectName};

/// The version of the manifests that this program writes.
const FORMAT: u32 = 1;

/// What a manifest object says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Manifest {
    /// What a version of a table added and removed.
    Table(TableManifest),
    /// What was destroyed.
    Destruction(DestructionManifest),
}

/// What a version of a table added and removed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableManifest {
    format: u32,
    pub(crate) number: u64,
    pub(crate) table: Label,
    pub(crate) version: i64,
    pub(crate) added: Vec<AddedFile>,
    pub(crate) removed: Vec<ObjectName>,
}

/// A file of a table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddedFile {
    pub(crate) name: ObjectName,
    pub(crate) bytes: u64,
    pub(crate) commitment: Commitment,
}

/// What was destroyed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DestructionManifest {
    format: u32,
    pub(crate) number: u64,
    pub(crate) kind: Destruction,
    pub(crate) ground: Ground,
    pub(crate) destroyed: Vec<ObjectName>,
}

/// Which entry a destruction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destruction {
    /// `erased`: somebody could ask for it.
    Erased,
    /// `expired`: its term was over.
    Expired,
}

impl TableManifest {
    pub(crate) fn new(
        number: u64,
        table: Label,
        version: i64,
        added: Vec<AddedFile>,
        removed: Vec<ObjectName>,
    ) -> Self {
        Self { format: FORMAT, number, table, version, added, removed }
    }
}

impl DestructionManifest {
    pub(crate) fn new(number: u64, kind: Destruction, ground: Ground, destroyed: Vec<ObjectName>) -> Self {
        Self { format: FORMAT, number, kind, ground, destroyed }
    }
}

impl Manifest {
    /// The object's content.
    pub(crate) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are JSON")
    }

    /// Reads manifest `number`; `name` is for errors.
    pub(crate) fn parse(name: &Path, number: u64, bytes: &[u8]) -> Result<Self, Error> {
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|_| Error::corrupt(name, "it is no manifest that this program knows"))?;
        let (format, own) = match &manifest {
            Self::Table(table) => (table.format, table.number),
            Self::Destruction(destruction) => (destruction.format, destruction.number),
        };
        if format != FORMAT {
            return Err(Error::corrupt(
                name,
                format!("it is of format {format}; this program knows {FORMAT}"),
            ));
        }
        if own != number {
            return Err(Error::corrupt(name, format!("it calls itself number {own}")));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::{AddedFile, Destruction, DestructionManifest, Manifest, TableManifest};
    use crate::entry::{Ground, Opening};

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let name = Path::from("c/manifest/00000000000000000004.json");
        let commitment = Opening::new([1; 32]).commit("c/x", b"hello");
        let object = |text: &str| text.parse().expect("a name");
        let added = vec![AddedFile { name: object("c/lake/t/1.parquet"), bytes: 9, commitment }];
        let table = TableManifest::new(
            4,
            "t".parse().expect("a label"),
            3,
            added,
            vec![object("c/lake/t/0.parquet")],
        );
        let bytes = Manifest::Table(table.clone()).write();
        let text = concat!(
            r#"{"format":1,"number":4,"table":"t","version":3,"added":[{"name":"c/lake/t/1.parquet","bytes":9,"#,
            r#""commitment":"GJISaw9SuH0otN/mN3QPmTQXKUE5A49egq3ZT2Oq7lA="}],"removed":["c/lake/t/0.parquet"]}"#
        );
        assert_eq!(std::str::from_utf8(&bytes), Ok(text));
        assert_eq!(Manifest::parse(&name, 4, &bytes).expect("a manifest"), Manifest::Table(table));
        assert!(Manifest::parse(&name, 5, &bytes).is_err());
        let other = text.replace("\"format\":1", "\"format\":2");
        assert!(Manifest::parse(&name, 4, other.as_bytes()).is_err());
        let gone = DestructionManifest::new(4, Destruction::Expired, Ground::Term, vec![object("c/x")]);
        let bytes = Manifest::Destruction(gone.clone()).write();
        let text = r#"{"format":1,"number":4,"kind":"expired","ground":"term","destroyed":["c/x"]}"#;
        assert_eq!(std::str::from_utf8(&bytes), Ok(text));
        assert_eq!(Manifest::parse(&name, 4, &bytes).expect("a manifest"), Manifest::Destruction(gone));
    }
}
