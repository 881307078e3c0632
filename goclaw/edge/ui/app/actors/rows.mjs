// From the tree to rows in reading order: what is open, what matches, how siblings are sorted (dashboard.md §7.2).
import { crowded, label, parentOf, troubled } from './tree.mjs'

const OPEN_LEVELS = 2 // opened at first
const FEW = 50 // children up to which a supervisor starts open

// Rows {key, node, level, position, size, open, dim, note}. `look` is {root, opened: Map path → the user's choice,
// wanted(node)?, order(a, b)?}. Ancestors of a hit stay, dimmed, and are open. A crowd opens into a note and its hottest.
export function rows(tree, { root = '/', opened, wanted, order }) {
  const found = []
  const visit = (path, level, position, size) => {
    const node = tree.known.get(path)
    if (!node) return false
    const at = found.length
    const hit = !wanted || wanted(node)
    const row = { key: path, node, level, position, size, open: null, dim: !hit }
    found.push(row)
    let below = false
    if (node.children_total > 0 || node.children?.length > 0) {
      const few = level <= OPEN_LEVELS && (node.children_total ?? 0) <= FEW
      row.open = opened.get(path) ?? (wanted ? true : level === 1 || few)
      if (row.open && !node.children) found.push({ key: `${path}#`, node, level: level + 1, note: 'loading' })
      else if (row.open && !wanted && crowded(node)) found.push({ key: `${path}#`, node, level: level + 1, note: 'crowd' })
      if (row.open || wanted) {
        const children = sorted(tree, node, wanted, order)
        for (let i = 0; i < children.length; i++) below = visit(children[i], level + 1, i + 1, node.children_total) || below
      }
      if (wanted && !row.open) found.length = at + 1
      if (row.open && !node.children && !hit) found.length = at
    }
    if (!hit && !below) found.length = at
    return hit || below
  }
  visit(root, 1, 1, 1)
  return found
}

function sorted(tree, node, wanted, order) {
  const paths = crowded(node) && !wanted ? tree.hottest(node) : (node.children ?? [])
  if (!order) return paths
  return paths.map((path) => tree.known.get(path)).filter(Boolean).sort(order).map((child) => child.path)
}

const VALUES = {
  name: label, class: (n) => n.class ?? '', state: (n) => n.state, mailbox: (n) => n.mailbox?.depth, in_hand: (n) => n.in_hand?.age_ms,
  rate: (n) => n.rate, wait: (n) => n.latency_us?.wait?.p95, handle: (n) => n.latency_us?.handle?.p95, memory: (n) => n.bytes,
  restarts: (n) => n.restarts_total, uptime: (n) => n.started_at && -new Date(n.started_at),
}

// "mailbox" sorts upwards, "-mailbox" downwards; nothing or a name we do not know leaves the gateway's order.
export function orderOf(sort) {
  const down = sort?.startsWith('-')
  const value = VALUES[down ? sort.slice(1) : sort]
  if (!value) return undefined
  const sign = down ? -1 : 1
  const least = (a) => a ?? Number.NEGATIVE_INFINITY
  return (a, b) => sign * (typeof value(a) === 'string' ? value(a).localeCompare(value(b)) : least(value(a)) - least(value(b)))
}

// The test of the filter {q, state, class, kind, problems}; undefined when nothing is filtered.
export function wantedBy({ q = '', state, class: cls, kind, problems }) {
  const text = q.toLowerCase()
  if (!text && !state && !cls && !kind && !problems) return undefined
  return (node) =>
    (!problems || troubled(node)) && (!state || node.state === state) && (!cls || node.class === cls) && (!kind || node.kind === kind) &&
    (!text || `${node.path} ${node.class ?? ''} ${node.snapshot ? JSON.stringify(node.snapshot) : ''}`.toLowerCase().includes(text))
}

// What a read must cover so that these rows are fresh: at most four {path, depth}.
export function readsFor(shown, root) {
  const parents = new Map()
  for (const { node } of shown) {
    const parent = node.path === root ? root : parentOf(node.path)
    parents.set(parent, { path: parent, depth: 1 })
  }
  if (parents.size <= 4) return [...parents.values()]
  const depthOf = (path) => (path === '/' ? 0 : path.split('/').length - 1)
  return [{ path: root, depth: Math.min(16, Math.max(...shown.map(({ node }) => depthOf(node.path))) - depthOf(root)) }]
}
