//! The integration binary: everything that needs the real program, real publishers and real readers.

mod corpus;
mod readers;
