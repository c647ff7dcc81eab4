//! The source's own disk, on which the index is: it forgets, when its power goes, what it was not told to keep.

use std::path::Path;

use everwrite_coordinatord::index::Index;

use crate::disk::{Event, Image, after_power_loss};
use crate::place::Place;
use crate::random::Random;

/// Power is lost at most so many events of the disk ago.
const EVENTS_AGO: u64 = 60;

pub(crate) struct Power {
    place: Place,
    /// As it was mounted.
    image: Image,
    random: Random,
}

impl Power {
    /// A disk on which `state` lies, where the coordinator keeps what must survive.
    pub(crate) fn new(seed: u64, state: &Path) -> Self {
        let place = Place::new().unwrap();
        let image = place.formatted().unwrap();
        let kept = place.mount.join("state");
        let made = place.on(image, |_| std::fs::create_dir(&kept));
        made.unwrap().unwrap();
        let image = place.disk.image();
        place.mount(image.clone()).unwrap();
        std::fs::create_dir_all(state.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&kept, state).unwrap();
        Self {
            place,
            image,
            random: Random(seed),
        }
    }

    /// The coordinator is about to be dropped, which writes: that did not happen any more.
    pub(crate) fn moment(&self) -> Vec<Event> {
        self.place.disk.take_events()
    }

    /// The power went just before, or a moment before that; it is on again.
    pub(crate) fn goes(&mut self, happened: &[Event]) -> String {
        let ago = self.random.below(EVENTS_AGO.min(happened.len() as u64) + 1);
        let at = happened.len() - ago as usize;
        let (image, _) = after_power_loss(&self.image, happened, at, &mut self.random);
        self.place.unmount();
        self.place.mount(image.clone()).unwrap();
        self.image = image;
        format!("{at} of {} events of its disk", happened.len())
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        self.place.unmount();
    }
}

/// The index may lag behind the receiver, and never leads.
pub(crate) fn does_not_lead(index: &Path, stored: u64) {
    let index = Index::open(index).unwrap();
    let (known, sent) = (index.stored().unwrap().0, index.sent().unwrap().0);
    assert!(
        known <= stored,
        "the index has {known} as stored, the receiver {stored}"
    );
    assert!(known <= sent, "{known} stored, {sent} sent");
}
