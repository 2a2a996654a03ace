//! Verdicts on small reports.
