// The actor tree as values: what the gateway answered, what is open, what matches, and the rows that follow.
// Contract: edge-http.md §26 (E-ActorNode), dashboard.md §7.1–7.3.

const OPEN_LEVELS = 2 // opened at first
const CROWD = 50 // children from which a supervisor starts closed
const LONG_IN_HAND = 5000 // ms
const FULL_MAILBOX = 0.8 // of the capacity

// The tree after an answer: {known: Map path → node, complete}. An answer with `fields=live` lacks names and crashes;
// those of `before` stay. Not complete when it shows an actor or an incarnation we have never read in full.
export function merge(before, root) {
  const known = new Map()
  let complete = true
  const visit = (node) => {
    const old = before.get(node.path)
    const full = 'class' in node
    if (!full && old?.incarnation !== node.incarnation) complete = false
    known.set(node.path, { ...(full ? {} : old), ...node, children: node.children?.map((child) => child.path) })
    node.children?.forEach(visit)
  }
  visit(root)
  return { known, complete }
}

export const troubled = (node) =>
  node.state !== 'running' || node.restarts_window > 0 || fullness(node) >= FULL_MAILBOX || node.in_hand?.age_ms > LONG_IN_HAND

export const fullness = ({ mailbox }) => (mailbox?.capacity ? mailbox.depth / mailbox.capacity : 0)

export const label = (node) => node.name || (node.path === '/' ? '/' : node.path.slice(node.path.lastIndexOf('/') + 1))

// Rows in reading order: {node, level, position, size, open, dim, more}. `wanted(node)` filters; the ancestors of a hit
// stay, dimmed, and are open. `opened` maps a path to the user's own choice.
export function rows(known, opened, wanted) {
  const found = []
  const visit = (path, level, position, size) => {
    const node = known.get(path)
    const at = found.length
    const hit = !wanted || wanted(node)
    const row = { node, level, position, size, open: null, dim: !hit, more: 0 }
    found.push(row)
    let below = false
    if (node.children_total > 0 || node.children?.length > 0) {
      row.open = opened.get(path) ?? (level <= OPEN_LEVELS && (node.children_total ?? 0) <= CROWD)
      if (wanted) row.open = opened.get(path) ?? true
      const children = node.children ?? []
      if (row.open || wanted) below = children.map((child, i) => visit(child, level + 1, i + 1, node.children_total)).some(Boolean)
      if (wanted && !row.open) found.length = at + 1
      if (row.open && !wanted && node.more) found.push({ node, level: level + 1, open: null, more: node.children_total - children.length })
    }
    if (!hit && !below) found.length = at
    return hit || below
  }
  if (known.has('/')) visit('/', 1, 1, 1)
  return found
}

// How deep to read for the open rows; 3 for a start.
export const depthOf = (shown) => (shown.length ? Math.min(16, Math.max(...shown.map((row) => row.level + (row.open ? 1 : 0)))) : 3)

export const parentOf = (shown, index) => {
  for (let i = index - 1; i >= 0; i--) if (shown[i].level < shown[index].level) return i
  return index
}
