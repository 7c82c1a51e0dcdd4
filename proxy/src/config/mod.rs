//! From `config.yaml` and the environment to a [`Config`].

mod model;

pub use model::{Config, Route};
