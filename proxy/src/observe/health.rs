//! What the health thread counts, and what is shown of the health of endpoints.

use super::labels::EjectionCells;

/// What the health thread counts.
#[derive(Debug, Default)]
pub(crate) struct HealthMetrics {
    /// Ejections of endpoints.
    pub ejections: EjectionCells,
}
