//! Turns what happened into entries and remembers how far each series was entered.
