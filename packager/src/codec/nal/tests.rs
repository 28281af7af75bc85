#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
