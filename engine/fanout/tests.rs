//! The pure core against simple models.
