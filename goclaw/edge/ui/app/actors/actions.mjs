// What can be done to an actor, who may, and what became of it (dashboard.md §7.6, edge-http.md §26).
import { effect, signal } from '@preact/signals'
import { gateway, may, post } from '../core/gateway.mjs'
import { t } from '../core/i18n.mjs'
import { reasonOf } from '../ui/parts.mjs'
import { duration } from '../core/format.mjs'

const PATIENCE = 10_000 // ms for a restart to be seen
const NOTICES = 5
const PASSING = 6000 // ms a good notice stays

export const urlOf = (path) => `/v1/actors${path.split('/').map(encodeURIComponent).join('/')}`

// Why this actor cannot be acted upon, as the key of a text; null when it can. The gateway decides in the end.
export function refusal(node, action) {
  if (!may(action === 'probe' ? 'operator' : 'admin')) return 'actors.refused.role'
  if (node.redacted) return 'actors.redacted'
  if (action === 'probe') return null
  if (node.path === '/') return 'actors.refused.root'
  if (node.path.lastIndexOf('/') === 0 && node.kind === 'supervisor') return 'actors.refused.branch'
  if (node.path === `/edge/ws/${gateway.hello.value.connection_id}`) return 'actors.refused.own'
  if (/Listener|Door$/.test(node.class ?? '')) return 'actors.refused.listener'
  if ((action === 'restart' || action === 'kill') && node.restart === 'temporary') return 'actors.refused.temporary'
  return null
}

// The row of supervision.md §13.1 that says what users notice.
const EFFECTS = [
  ['run', /^Run(Actor)?$/], ['tool', /^ToolCall/], ['session', /^Session(Actor)?$/], ['agent', /^Agent(Actor)?$/], ['team', /^Team/], ['delegation', /^Delegation/],
  ['provider', /^Provider/], ['mcp', /^Mcp/], ['lane', /Lane/], ['pool', /Pool|Database/], ['listener', /Listener|Door$/], ['config', /Config/], ['cron', /^Cron|Ticker/], ['tracer', /Trac/],
]
export function effectOf({ path, class: cls = '' }) {
  if (/^\/channels\/[^_]/.test(path)) return 'channel'
  if (/^\/infra(\/|$)/.test(path) && !EFFECTS.some(([, named]) => named.test(cls))) return 'infra'
  return EFFECTS.find(([, named]) => named.test(cls))?.[0] ?? 'rest'
}

// Short news about actions, newest last: {id, tone, text, retry?: {text, act}}.
export const notices = signal([])
let lastId = 0
export function notify(tone, text, retry) {
  const id = ++lastId
  notices.value = [...notices.value.slice(1 - NOTICES), { id, tone, text, retry }]
  if (tone === 'ok') setTimeout(() => dismiss(id), PASSING)
}
export const dismiss = (id) => (notices.value = notices.value.filter((one) => one.id !== id))

// The actor as it is now; throws Refusal when it has ended.
export const fresh = (path) => gateway.call('actors.get', { path })

export const perform = (action, path, { reason, timeout_ms } = {}) => {
  const verb = action === 'kill' ? 'restart' : action
  const mode = { restart: 'graceful', kill: 'kill' }[action]
  return post(`${urlOf(path)}/${verb}`, { ...(mode && { mode }), ...(timeout_ms != null && { timeout_ms }), ...(reason && { reason }) })
}

// True when a newer incarnation than `from` is seen in time.
export function restarted(tree, path, from, within = PATIENCE) {
  return new Promise((resolve) => {
    let end = null
    const timer = setTimeout(() => finish(false), within)
    const finish = (seen) => {
      clearTimeout(timer)
      queueMicrotask(() => end?.())
      resolve(seen)
    }
    end = effect(() => {
      tree.version.value
      if (tree.known.get(path)?.incarnation > from) finish(true)
    })
  })
}

// Acts, shows it in the tree at once and tells what became of it. Throws Refusal when the gateway says no.
export async function act(tree, action, node, asked, onKill) {
  const { path, incarnation: from } = node
  const answer = await perform(action, path, asked)
  const name = path
  if (action === 'restart' || action === 'kill') {
    tree.mark(path, { restarting: { from } })
    restarted(tree, path, from).then((seen) => {
      tree.mark(path, { restarting: undefined })
      if (seen) notify('ok', t('actors.done.restart', { name, incarnation: tree.known.get(path).incarnation }))
      else notify('warn', t('actors.late', { name }), onKill && { text: t('actors.action.kill'), act: onKill })
    })
    return
  }
  const state = { suspend: 'suspended', resume: 'running', stop: 'stopped' }[action]
  tree.mark(path, { state: answer.state ?? state, by: gateway.hello.value.user_id, in_hand: null })
  notify('ok', t(`actors.done.${action}`, { name }))
}

export async function probe(path) {
  try {
    const { ok, wait_ms: wait, handle_ms: handle } = await post(`${urlOf(path)}/probe`)
    if (ok) notify('ok', t('actors.probe.ok', { name: path, wait: duration(wait), handle: duration(handle) }))
    else notify('warn', t('actors.probe.silent', { name: path }))
  } catch (error) {
    notify('err', reasonOf(error))
  }
}
