//! Cuts samples into segments and parts along the grid.
