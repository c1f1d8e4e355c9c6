//! The `error` of a JSON-RPC answer, in all the shapes that nodes and their proxies give it. Called
//! by [`Node`](super::Node).

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};

/// A method that is not there.
const METHOD_NOT_FOUND: i64 = -32_601;
/// A method that is known and not supported (EIP-1474).
const METHOD_NOT_SUPPORTED: i64 = -32_004;
/// A method of a namespace that is not enabled, in Besu's answers.
const METHOD_NOT_ENABLED: i64 = -32_604;
/// More requests than allowed (EIP-1474).
const LIMIT_EXCEEDED: i64 = -32_005;
/// All that could answer are busy, in Nethermind's answers.
const MODULE_TIMEOUT: i64 = -32_017;

/// A node's refusal, instead of a result.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// 0 where there is none.
    pub(super) code: i64,
    /// Short enough to be shown; empty where there is none.
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn is_limit(&self) -> bool {
        matches!(self.code, LIMIT_EXCEEDED | MODULE_TIMEOUT | 429)
    }

    /// Some gateways have no code of their own for it. Nor has Nethermind where the method's
    /// namespace is disabled, or is for its consensus client alone.
    pub(super) fn is_method_missing(&self) -> bool {
        const WORDS: [&str; 9] = [
            "not found",
            "not available",
            "not supported",
            "unsupported",
            "not allowed",
            "not exist",
            "not whitelisted",
            "is disabled",
            "must be authenticated",
        ];
        let text = self.message.to_ascii_lowercase();
        matches!(
            self.code,
            METHOD_NOT_FOUND | METHOD_NOT_SUPPORTED | METHOD_NOT_ENABLED
        ) || text.contains("method") && WORDS.iter().any(|word| text.contains(word))
    }
}

impl<'de> Deserialize<'de> for Refusal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Refusal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an error of JSON-RPC")
            }

            fn visit_str<E: de::Error>(self, message: &str) -> Result<Refusal, E> {
                Ok(Refusal {
                    code: 0,
                    message: shortened(message),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Refusal, A::Error> {
                let (mut code, mut message) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "code" => code = map.next_value()?,
                        "message" => message = map.next_value()?,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                let message: Option<String> = message;
                Ok(Refusal {
                    code: code.map_or(0, |Code(code)| code),
                    message: shortened(&message.unwrap_or_default()),
                })
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// A number, or a text that is one; 0 for any other text.
struct Code(i64);

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl Visitor<'_> for Any {
            type Value = Code;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an error code")
            }

            fn visit_i64<E: de::Error>(self, code: i64) -> Result<Code, E> {
                Ok(Code(code))
            }

            fn visit_u64<E: de::Error>(self, code: u64) -> Result<Code, E> {
                Ok(Code(code.try_into().unwrap_or(0)))
            }

            fn visit_f64<E: de::Error>(self, code: f64) -> Result<Code, E> {
                Ok(Code(code as i64))
            }

            fn visit_str<E: de::Error>(self, code: &str) -> Result<Code, E> {
                Ok(Code(code.parse().unwrap_or(0)))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// A text from outside, of at most 300 characters and none that steers a terminal.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    let harmless = |char: char| if char.is_control() { ' ' } else { char };
    text.chars().take(CHARS_MAX).map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shape_is_understood() {
        for (json, code, message) in [
            (r#"{"code": -32000, "message": "no"}"#, -32_000, "no"),
            (r#"{"code": "-32601", "message": null, "data": [1]}"#, -32_601, ""),
            (r#"{"code": "E_LIMIT", "message": "slow down"}"#, 0, "slow down"),
            (r#"{"code": null}"#, 0, ""),
            (r#"{"code": -32000.0}"#, -32_000, ""),
            (r#"{"message": "a\u001b[2Jb"}"#, 0, "a [2Jb"),
            (r#""plain""#, 0, "plain"),
        ] {
            let refusal: Refusal = serde_json::from_str(json).unwrap();
            let expected = Refusal {
                code,
                message: message.to_owned(),
            };
            assert_eq!(refusal, expected, "{json}");
        }
    }

    #[test]
    fn a_missing_method_is_told_from_a_missing_block() {
        let says = |code, message: &str| Refusal {
            code,
            message: message.to_owned(),
        };
        assert!(says(-32_601, "").is_method_missing());
        assert!(says(-32_600, "Unsupported method: debug_getRawBlock").is_method_missing());
        assert!(says(0, "the method debug_x does not exist/is not available").is_method_missing());
        assert!(!says(-32_000, "block #7 not found").is_method_missing());
    }

    /// The words of nodes whose `debug` namespace is not enabled, by their sources.
    #[test]
    fn a_namespace_that_is_not_enabled_is_a_missing_method() {
        for (code, message) in [
            // geth, reth, Nethermind without the method, Besu.
            (
                -32_601,
                "the method debug_getRawBlock does not exist/is not available",
            ),
            (-32_601, "Method not found"),
            (-32_601, "The method 'debug_getRawBlock' is not supported."),
            (-32_604, "Method not enabled"),
            // Nethermind with a method that may not be called here.
            (
                -32_600,
                "The method 'debug_getRawBlock' is found but the namespace 'Debug' is disabled for \
                 http://127.0.0.1:8545. Consider adding the namespace 'Debug' to \
                 JsonRpc.AdditionalRpcUrls for an additional URL, or to JsonRpc.EnabledModules for \
                 the default URL.",
            ),
            (
                -32_600,
                "The method 'debug_getRawBlock' is found in namespace 'Debug' for \
                 http://127.0.0.1:8545' but is disabled for Http.",
            ),
            (-32_600, "The method 'debug_getRawBlock' must be authenticated."),
        ] {
            let refusal = Refusal {
                code,
                message: message.to_owned(),
            };
            assert!(refusal.is_method_missing(), "{message}");
            assert!(!refusal.is_limit(), "{message}");
        }
    }

    #[test]
    fn a_node_that_is_busy_is_asked_again() {
        for code in [-32_005, -32_017, 429] {
            let refusal = Refusal {
                code,
                message: String::new(),
            };
            assert!(refusal.is_limit() && !refusal.is_method_missing(), "{code}");
        }
    }
}
