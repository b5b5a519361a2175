//! Versions of a schema: what both stores' runners share.

/// One step from a version of a schema to the next.
#[derive(Debug)]
pub(crate) struct Migration {
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

impl Migration {
    /// FNV-1a, 64 bits (draft-eastlake-fnv, section 2), in hexadecimal. It guards against accidents, not against malice.
    pub(crate) fn checksum(&self) -> String {
        const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        format!("{:016x}", self.sql.bytes().fold(OFFSET_BASIS, step))
    }
}

/// A database has another text of a migration than this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Altered {
    pub(crate) version: u32,
}

/// Holds the migrations that a database has had, as versions and checksums, against those that this program knows.
pub(crate) fn check(
    known: &[Migration],
    had: impl IntoIterator<Item = (u32, String)>,
) -> Result<(), Altered> {
    for (version, checksum) in had {
        let known = (version as usize).checked_sub(1).and_then(|index| known.get(index));
        if known.is_none_or(|known| known.checksum() != checksum) {
            return Err(Altered { version });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_fnv_1a() {
        let checksum = |sql| Migration { name: "", sql }.checksum();
        assert_eq!(checksum(""), "cbf29ce484222325");
        assert_eq!(checksum("foobar"), "85944171f73967e8");
    }

    #[test]
    fn an_altered_or_unknown_step_is_found() {
        let known = [Migration { name: "one", sql: "1" }];
        let had = |version, sql| [(version, Migration { name: "", sql }.checksum())];
        assert_eq!(check(&known, had(1, "1")), Ok(()));
        assert_eq!(check(&known, had(1, "2")), Err(Altered { version: 1 }));
        assert_eq!(check(&known, had(2, "1")), Err(Altered { version: 2 }));
        assert_eq!(check(&known, had(0, "1")), Err(Altered { version: 0 }));
    }
}
