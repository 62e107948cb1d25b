//! Whatever is written comes back; whatever was damaged is told.

mod damage;
mod model;
mod strategies;
mod values;
