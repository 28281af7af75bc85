//! Reading init segments and chunks back.
