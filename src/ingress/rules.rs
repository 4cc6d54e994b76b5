//! What the webhook handler goes by: access control, endpoints and limits.

use std::sync::Arc;
use std::time::Duration;

use super::access_control::AccessControl;
use super::endpoint::SourceEndpoints;
use crate::pipeline::Terms;

/// What the handler goes by. It is replaced as a whole when the configuration is reloaded, and a
/// request keeps to the end what it began with.
#[derive(Debug)]
pub struct HandlerRules {
    /// Who may send requests at all, and how many.
    pub access: AccessControl,
    /// The endpoints of the sources.
    pub endpoints: SourceEndpoints,
    /// What bodies may be, and how many.
    pub limits: RequestLimits,
    /// On what terms deliveries are accepted.
    pub terms: Arc<Terms>,
    /// Where a load balancer asks whether deliveries are taken, if it may.
    pub health_path: Option<String>,
}

/// What a request's body may be, and how many requests there may be.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// The most requests answered at once.
    pub max_in_flight: usize,
    /// The most bytes that their bodies take together.
    pub max_body_bytes_in_flight: usize,
}
