//! The end of a batch: sizes as told, deaths, and what people will read about it later.

use std::collections::{BTreeMap, HashMap};

use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::wire::Kind;

use super::batch::{BatchRun, Touch};
use super::before::Before;
use super::content::Change;
use super::rows::{EventRow, Happening, OriginIndex};
use super::view::Life;

impl<B: Before> BatchRun<'_, '_, B> {
    /// Ends the batch.
    pub(super) fn finish(mut self) -> Result<(), B::Error> {
        let touched = std::mem::take(&mut self.touched);
        for (file, touch) in &touched {
            self.settle(*file, touch)?;
        }
        self.tell(&touched);
        for file in touched.keys() {
            if let Some(view) = self.progress.view.file(*file)? {
                view.visible = matches!(view.life, Life::Named);
            }
        }
        Ok(())
    }

    /// The file's size and attributes from this batch on, and whether it is dead.
    fn settle(&mut self, file: FileId, touch: &Touch) -> Result<(), B::Error> {
        let sequence = self.sequence;
        let super::batch::Progress {
            view,
            rows,
            superseded,
        } = &mut *self.progress;
        let before = view.before;
        let Some(view) = view.file(file)? else {
            return Ok(());
        };
        if let Some(size) = touch
            .told_size
            .filter(|_| view.attributes.kind == Kind::Regular)
        {
            let now = view
                .content
                .as_ref()
                .map_or(view.attributes.size, |content| content.size());
            if size != now {
                let start = view.attributes.size;
                let content = view
                    .content
                    .get_or_insert_with(|| super::content::Content::existing(file, start));
                let visible = view.visible;
                content.truncate(
                    size,
                    &mut Change {
                        before,
                        sequence,
                        visible,
                        superseded,
                    },
                )?;
            }
        }
        if let Some(content) = &view.content {
            view.attributes.size = content.size();
        }
        if touch.created || touch.content || touch.attributes {
            rows.attributes
                .push((file, sequence, view.attributes.clone()));
        }
        if view.life == Life::Named && view.names.is_empty() {
            view.life = Life::Dead(sequence);
        }
        Ok(())
    }

    fn tell(&mut self, touched: &BTreeMap<FileId, Touch>) {
        let mut lost = HashMap::new();
        for (file, touch) in touched {
            lost.extend(touch.closed.iter().map(|name| (name, *file)));
        }
        let mut taken = HashMap::new();
        for (file, touch) in touched {
            taken.extend(touch.opened.iter().map(|name| (name, *file)));
        }
        let mut events = Vec::new();
        for (file, touch) in touched {
            let origin = touch.origin.unwrap_or(OriginIndex(0));
            let visible = self
                .progress
                .view
                .seen(*file)
                .is_some_and(|view| view.visible);
            for what in happenings(*file, touch, visible, &lost, &taken) {
                events.push(EventRow {
                    sequence: self.sequence,
                    file: *file,
                    what,
                    origin,
                });
            }
        }
        self.progress.rows.events.extend(events);
    }
}

type Names<'a> = HashMap<&'a (FileId, Name), FileId>;

/// What a person would say happened to the file. `lost`: names with whom they left; `taken`: names
/// whom they went to. `visible`: recovery points before this batch show the file.
fn happenings(
    file: FileId,
    touch: &Touch,
    visible: bool,
    lost: &Names<'_>,
    taken: &Names<'_>,
) -> Vec<Happening> {
    let closed: Vec<_> = touch
        .closed
        .iter()
        .filter(|name| taken.get(name) != Some(&file))
        .collect();
    let opened: Vec<_> = touch
        .opened
        .iter()
        .filter(|name| lost.get(name) != Some(&file))
        .collect();
    let renames = closed.len().min(opened.len());
    let mut happened = Vec::new();
    for (from, to) in closed.iter().zip(&opened) {
        happened.push(Happening::Renamed((*from).clone(), (*to).clone()));
    }
    for (parent, name) in &opened[renames..] {
        let replaced = lost.contains_key(&(*parent, name.clone()));
        let made = if replaced {
            Happening::Replaced
        } else {
            Happening::Created
        };
        happened.push(made(*parent, name.clone()));
    }
    for (parent, name) in &closed[renames..] {
        if !taken.contains_key(&(*parent, name.clone())) {
            happened.push(Happening::Deleted(*parent, name.clone()));
        }
    }
    if touch.content && visible {
        happened.push(Happening::Modified(touch.bytes));
    } else if touch.attributes && visible && happened.is_empty() {
        happened.push(Happening::Attributes);
    }
    happened
}
