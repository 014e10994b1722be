//! What a test can choose. The defaults are the strict ones.

/// How the server behaves.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Requests need a bearer token that the server has issued or was told; a session's URI needs none.
    pub(crate) checks_tokens: bool,
    pub(crate) permissions: Permissions,
    /// `ifGenerationMatch` is checked when a session is opened, too. Always when it is finalized.
    pub(crate) precondition_at_initiation: bool,
    /// Who may not replace an object and tries to, with `ifGenerationMatch=0`, gets 403 and not 412.
    pub(crate) forbidden_before_precondition: bool,
    /// More than one write a second to one name is answered by 429.
    pub(crate) one_write_a_second: bool,
    /// With it, 410 (and a dead session) instead of 429 where a session is finalized.
    pub(crate) rate_limit_kills_session: bool,
    /// What a session answers after a finalization that was refused: 410, or with this the same refusal again.
    pub(crate) refusal_is_repeated: bool,
    /// A chunk before the last one that is no multiple of 256 KiB is rounded down. Without it, it is refused.
    pub(crate) odd_chunks_are_rounded: bool,
    /// Replaced generations can still be read.
    pub(crate) versioning: bool,
    /// What keeps objects from being replaced.
    pub(crate) protection: Option<Protection>,
    /// Access control lists are off, so `predefinedAcl` is refused.
    pub(crate) uniform_access: bool,
    /// The largest page of a listing, whatever a client asks for.
    pub(crate) page_limit: usize,
    /// Every second page of a listing is empty and has a token.
    pub(crate) empty_pages: bool,
    /// How fast a connection takes in bodies.
    pub(crate) bytes_per_second: Option<u64>,
    /// Tokens must be ones that this service account has signed itself.
    pub(crate) token_issuer: Option<String>,
    /// Of a token that is issued.
    pub(crate) token_seconds: u64,
    /// What the token endpoint answers instead of a token.
    pub(crate) token_failure: Option<TokenFailure>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            checks_tokens: false,
            permissions: Permissions::all(),
            precondition_at_initiation: false,
            forbidden_before_precondition: false,
            one_write_a_second: false,
            rate_limit_kills_session: false,
            refusal_is_repeated: false,
            odd_chunks_are_rounded: false,
            versioning: false,
            protection: None,
            uniform_access: true,
            page_limit: 1000,
            empty_pages: false,
            bytes_per_second: None,
            token_issuer: None,
            token_seconds: 3600,
            token_failure: None,
        }
    }
}

/// What the caller may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permissions {
    pub(crate) create: bool,
    pub(crate) get: bool,
    pub(crate) list: bool,
    /// Without it nothing can be replaced.
    pub(crate) delete: bool,
    pub(crate) get_bucket: bool,
}

impl Permissions {
    pub(crate) fn all() -> Permissions {
        Permissions { create: true, get: true, list: true, delete: true, get_bucket: true }
    }

    /// The roles objectCreator and objectViewer together.
    pub(crate) fn creator_and_viewer() -> Permissions {
        Permissions { delete: false, get_bucket: false, ..Permissions::all() }
    }

    /// The role objectCreator alone.
    pub(crate) fn creator() -> Permissions {
        Permissions { get: false, list: false, ..Permissions::creator_and_viewer() }
    }
}

/// What keeps objects from being replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    Retention,
    Hold,
}

/// How a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenFailure {
    /// 503: it may work later.
    Unavailable,
    /// 400 `invalid_grant`: it will not work again.
    InvalidGrant,
}
