//! `ip link add`, `set`, `del`.

use serde::{Deserialize, Serialize};

use crate::base::Mac;

/// A change of the links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "op", rename_all = "kebab-case")]
pub enum LinkChange {
    /// One more.
    Add {
        /// Its name.
        name: String,
        /// What it is: `packet`, `tap`, `tun`.
        kind: String,
        /// And how; what is absent is as in a file.
        #[serde(default)]
        settings: LinkSettings,
    },
    /// Another setting.
    Set {
        /// Its name.
        name: String,
        /// What is absent stays.
        #[serde(default)]
        settings: LinkSettings,
    },
    /// One less.
    Delete {
        /// Its name.
        name: String,
    },
}

/// Settings of a link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkSettings {
    /// The kernel's interface.
    pub device: Option<String>,
    /// Its MAC.
    #[serde(with = "mac")]
    pub mac: Option<Mac>,
    /// The longest L3 packet, in bytes.
    pub mtu: Option<u32>,
    /// Whether it carries packets.
    pub up: Option<bool>,
}

/// A MAC as text.
mod mac {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::base::Mac;

    pub(super) fn serialize<S: Serializer>(mac: &Option<Mac>, s: S) -> Result<S::Ok, S::Error> {
        match mac {
            Some(mac) => s.collect_str(mac),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Mac>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|t| t.parse().map_err(serde::de::Error::custom)).transpose()
    }
}
