//! Wall-clock time for people.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{Local, TimeZone};

/// Unix seconds.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Unix microseconds.
pub fn unix_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}

/// Unix seconds in the local time zone, in strftime(3)'s format.
pub fn local(seconds: u64, format: &str) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    match Local.timestamp_opt(seconds, 0).earliest() {
        Some(time) => time.format(format).to_string(),
        None => String::new(),
    }
}

/// The local time of day, to the microsecond.
pub fn of_day() -> String {
    Local::now().format("%H:%M:%S%.6f").to_string()
}

/// Seconds since 1970, to the microsecond.
pub fn since_1970() -> String {
    let micros = unix_micros();
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}
