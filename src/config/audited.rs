//! The flags that an audit log names.

use super::{DaemonConfig, OffsetReset};

impl DaemonConfig {
    /// What decides which records are archived and where files end, by the names of the flags. No secrets.
    pub fn audited_flags(&self) -> Vec<(&'static str, String)> {
        let boundary = &self.boundary;
        let offset_reset = match self.offset_reset {
            OffsetReset::Earliest => "earliest",
            OffsetReset::Latest => "latest",
            OffsetReset::Error => "error",
        };
        let mut flags = vec![
            ("group", self.group.clone()),
            ("topics", self.topics.to_strings().join(",")),
            ("offset_reset", offset_reset.to_owned()),
            ("file_size", boundary.segment_bytes.to_string()),
            ("file_age_seconds", (boundary.segment_age_ms.get() / 1000).to_string()),
            ("idle_seal_seconds", self.idle_seal.as_secs().to_string()),
            ("seal_after_seconds", self.seal_after.as_secs().to_string()),
            ("reexamine_after_seconds", self.reexamine_after.as_secs().to_string()),
            ("codec", self.codec.to_string()),
            ("until_end", self.until_end.is_some().to_string()),
        ];
        flags.extend(self.index.as_ref().map(|index| ("index", index.to_string())));
        flags.extend(boundary.segment_records.map(|records| ("file_records", records.to_string())));
        flags
    }
}
