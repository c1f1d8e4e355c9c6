//! Names of what documents have one of, to which later releases may add.

/// What an enum that a service answers with needs: its variants, their names in documents, and
/// decoding. A name of a later release is `Unknown`, so that a document is read in spite of it:
/// `#[serde(other)]` would do the same, and list `unknown` in the schema as if a service sent it.
macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal,)+ }) => {
        impl $type {
            /// All that this release knows.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Its name in documents.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Unknown => "unknown",
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let name = <String as serde::Deserialize>::deserialize(from)?;
                let known = Self::ALL.into_iter().find(|one| one.as_str() == name);
                Ok(known.unwrap_or(Self::Unknown))
            }
        }
    };
}

pub(crate) use names;

#[cfg(test)]
mod tests {
    use crate::{AttemptEnd, JobState, Kind, PeerState, Standing, TaskState};

    macro_rules! is_open {
        ($($type:ident),+) => {$(
            for one in $type::ALL {
                let json = serde_json::to_string(&one).unwrap();
                assert_eq!(json, format!("{:?}", one.as_str()));
                assert_eq!(serde_json::from_str::<$type>(&json).unwrap(), one);
                assert_ne!(one, $type::Unknown);
            }
            for later in ["\"hibernating\"", "\"unknown\"", "\"\""] {
                assert_eq!(serde_json::from_str::<$type>(later).unwrap(), $type::Unknown);
            }
            serde_json::from_str::<$type>("7").unwrap_err();
            #[cfg(feature = "openapi")]
            {
                let schema = serde_json::to_value(<$type as utoipa::PartialSchema>::schema()).unwrap();
                let names: Vec<&str> = $type::ALL.map($type::as_str).into();
                assert_eq!(schema["enum"], serde_json::json!(names), "{schema}");
            }
        )+};
    }

    #[test]
    fn names_of_later_releases_are_unknown_and_in_no_schema() {
        is_open!(JobState, Kind, TaskState, AttemptEnd, PeerState, Standing);
    }
}
