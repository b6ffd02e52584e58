/*
 * Aligning cells that end in tabs, as Go's text/tabwriter does ("elastic tabstops") and therefore kubectl.
 *
 * A tab ends a cell. Cells of the same column in adjacent lines form a block, which is as wide as its widest cell and the
 * padding; a line without a cell there ends the block. What follows a line's last tab is not aligned.
 */
#ifndef CLI_TABS_H
#define CLI_TABS_H

#include "base/buf.h"
#include "base/str.h"

void tabs_align(struct buf *out, struct str text, unsigned padding);

#endif
