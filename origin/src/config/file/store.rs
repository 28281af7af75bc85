//! `[store]`: the durable store behind the spool.

use super::Section;
use crate::config::{Role, S3, value};

/// Bytes of objects that were read back: less holds no segment, more is a slip of the unit.
const CACHE: (u64, u64) = (1 << 20, 1 << 40);

impl Section<'_, '_, '_> {
    /// What `kind = "s3"` and its keys say; `None` where there is no S3.
    pub(super) fn s3(&mut self) -> Option<S3> {
        let (mut wanted, mut s3) = (false, S3::default());
        self.read("kind", &mut wanted, |text| match text {
            "fs" => Ok(false),
            "s3" => Ok(true),
            other => Err(format!("{other:?} is not a kind of store; there are \"fs\" and \"s3\"")),
        });
        let mut first = None;
        let mut bucket = None;
        self.read("bucket", &mut bucket, |text| value::bucket(text).map(Some));
        self.read("prefix", &mut s3.prefix, value::prefix);
        self.read("endpoint", &mut s3.endpoint, |text| value::endpoint(text).map(Some));
        self.read("region", &mut s3.region, value::word);
        self.read("path_style", &mut s3.path_style, |text| value::yes_or_no(text).map(Some));
        self.read("credentials", &mut s3.credentials, |text| value::path(text).map(Some));
        self.read("profile", &mut s3.profile, |text| value::word(text).map(Some));
        self.read("encryption", &mut s3.encryption, |text| value::encryption(text).map(Some));
        self.read("encryption_key", &mut s3.encryption_key, |text| value::word(text).map(Some));
        self.read("storage_class", &mut s3.storage_class, |text| value::word(text).map(Some));
        self.read("cache", &mut s3.cache, |text| value::bytes(text, CACHE.0, CACHE.1));
        self.read("playlists", &mut s3.playlists, value::yes_or_no);
        self.read("role", &mut s3.role, |text| match text {
            "primary" => Ok(Role::Primary),
            "replica" => Ok(Role::Replica),
            other => Err(format!("{other:?} is not a role; there are \"primary\" and \"replica\"")),
        });
        for (name, key) in self.table {
            if OF_S3.contains(&name.get_ref().as_ref()) {
                first.get_or_insert_with(|| (name.get_ref().to_string(), key.span().start));
            }
        }
        let kind = self.table.iter().find(|(name, _)| name.get_ref() == "kind");
        let at = kind.map_or(0, |(_, kind)| kind.span().start);
        match (wanted, bucket) {
            (true, Some(bucket)) => s3.bucket = bucket,
            (true, None) => {
                let is_wrong = self.table.iter().any(|(name, _)| name.get_ref() == "bucket");
                if !is_wrong {
                    self.problem("bucket", at, "S3 needs a bucket".to_owned());
                }
                return None;
            }
            (false, _) => {
                if let Some((key, at)) = first {
                    self.problem(&key, at, "only with kind = \"s3\"".to_owned());
                }
                return None;
            }
        }
        if s3.encryption_key.is_some() && s3.encryption.as_deref() != Some("aws:kms") {
            let words = "only encryption = \"aws:kms\" has a key of its own";
            self.problem("encryption_key", at, words.to_owned());
        }
        Some(s3)
    }
}

/// Keys that mean nothing without S3.
const OF_S3: [&str; 13] = [
    "bucket",
    "prefix",
    "endpoint",
    "region",
    "path_style",
    "credentials",
    "profile",
    "encryption",
    "encryption_key",
    "storage_class",
    "cache",
    "playlists",
    "role",
];
