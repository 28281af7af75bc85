//! The assets of a channel: excerpts that are kept, and whose segments outlive the window.

use std::sync::PoisonError;

use packager::timeline::Snapshot;

use super::ChannelStore;
use crate::store::assets::{self, Asset};
use crate::store::holds::Holds;

impl ChannelStore {
    /// The channel's assets, by id.
    pub fn assets(&self) -> Vec<Asset> {
        self.assets.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Makes an asset of an excerpt; its holds are not those of `asset` but the excerpt's. Does blocking
    /// I/O: when this returns it survives a power cut.
    ///
    /// # Errors
    /// The file system says no, and nothing is held.
    pub fn keep_asset(&self, mut asset: Asset, excerpt: &Snapshot) -> std::io::Result<Asset> {
        asset.holds = assets::holds(excerpt);
        let hold = |holds: &mut Holds| holds.hold(&asset.id, asset.holds.clone());
        hold(&mut self.shared.holds.write().unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = assets::write(&self.directory, &asset, excerpt) {
            self.shared.release(&asset.id, self.limits.grace);
            return Err(error);
        }
        let mut known = self.assets.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(asset.id.clone(), asset.clone());
        Ok(asset)
    }

    /// Gives an asset another title; `None` if there is none. Does blocking I/O.
    ///
    /// # Errors
    /// The file system says no.
    pub fn rename_asset(&self, id: &str, title: &str) -> std::io::Result<Option<Asset>> {
        let mut known = self.assets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(asset) = known.get_mut(id) else { return Ok(None) };
        let renamed = Asset { title: title.to_owned(), ..asset.clone() };
        assets::describe(&self.directory, &renamed)?;
        *asset = renamed.clone();
        Ok(Some(renamed))
    }

    /// Deletes an asset; false if there is none. What it held and no playlist lists goes after
    /// [`Limits::grace`](crate::store::Limits::grace). Does blocking I/O.
    ///
    /// # Errors
    /// The file system says no.
    pub fn remove_asset(&self, id: &str) -> std::io::Result<bool> {
        let mut known = self.assets.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(id) {
            return Ok(false);
        }
        assets::remove(&self.directory, id)?;
        known.remove(id);
        self.shared.release(id, self.limits.grace);
        Ok(true)
    }

    /// The timeline of an asset. Does blocking I/O.
    ///
    /// # Errors
    /// It can't be read.
    pub fn asset_timeline(&self, id: &str) -> std::io::Result<Snapshot> {
        assets::read(&self.directory, id)
    }
}
