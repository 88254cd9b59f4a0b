mod messages;
mod property;
mod refused;
mod snapshots;
mod time;
