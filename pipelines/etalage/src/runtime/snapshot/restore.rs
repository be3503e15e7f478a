//! Which snapshot a restart begins with.

use etalage_store::snapshot::{Listed, Place, Snapshot, SnapshotError, forget, list, load};

/// The newest snapshot of this store and these options that is whole, of the beginning of a log with these
/// `segments`, of which the next frame is `next_frame`. One that is damaged is passed over, with a
/// warning: the one before it takes its place, and more of the log is read. One that holds more than the log is removed
/// before the log goes on: later it could not be told from others.
///
/// # Errors
/// Where the place cannot be read.
pub(crate) fn newest(
    place: &Place,
    epoch: u64,
    options: &str,
    (segments, next_frame): (&[(u64, u32)], u64),
) -> Result<Option<Snapshot>, SnapshotError> {
    let mut beyond = Vec::new();
    for Listed { tick, manifest } in list(place)?.into_iter().rev() {
        let usable = manifest.and_then(|manifest| match () {
            () if manifest.epoch != epoch => {
                tracing::warn!(tick, "a snapshot belongs to another store; it is not used");
                Ok(None)
            }
            () if manifest.options != options => {
                tracing::warn!(tick, "a snapshot was taken with other options or by another version; it is not used");
                Ok(None)
            }
            () if !manifest.log.is_of(segments) => {
                tracing::warn!(tick, "a snapshot was taken before somebody was erased from the log; it is not used");
                Ok(None)
            }
            () if manifest.log.next_frame > next_frame => {
                tracing::warn!(tick, "a snapshot holds more than the log, of which the end was lost; it is not used");
                beyond.push(tick);
                Ok(None)
            }
            () => load(place, tick).map(Some),
        });
        match usable {
            Ok(Some(snapshot)) => {
                forget(place, &beyond)?;
                return Ok(Some(snapshot));
            }
            Ok(None) => {}
            Err(error) if error.is_about_one() => {
                tracing::warn!(%error, "a snapshot cannot be used; an older one, or the log, takes its place");
            }
            Err(error) => return Err(error),
        }
    }
    // Where the log was trimmed, nothing starts, and somebody may want them.
    if segments.first().is_none_or(|(first, _)| *first == 0) {
        forget(place, &beyond)?;
    }
    Ok(None)
}
