//! What every database must do, run on both.
