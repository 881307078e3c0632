// Every run the caller may see: the queue's figures, counts by state, a page of rows kept fresh by events.
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { href, refine, route } from '../core/router.mjs'
import { Empty, Icon, IconButton, say, Skeleton, Trouble } from '../ui/parts.mjs'
import { NewTask } from './create.mjs'
import { Lanes } from './lanes.mjs'
import { STATES, useRunNews } from './states.mjs'
import { RunTable } from './table.mjs'

const PAGE = 20 // rows
const EVERY = 2000 // ms between two looks at the lanes (dashboard.md §6.3)
const QUIET = 5000 // ms between two spoken pieces of news (dashboard.md §13)
const KINDS = ['chat', 'channel', 'http', 'task', 'wake', 'cron', 'heartbeat', 'subagent', 'delegation', 'team_task', 'announce', 'evaluate', 'pipeline', 'autonomy', 'autolearn', 'replay', 'selfcheck', 'summary', 'flush']
const NOTHING = { state: '', kind: '', session: '', from: '' }

export function List() {
  const { state = '', kind = '', session = '', from = '0' } = route.value.query
  const offset = Math.max(0, Number.parseInt(from, 10) || 0)
  const page = useSignal(null)
  const queue = useSignal(null)
  const error = useSignal(null)
  const turn = useSignal(0)
  const making = useSignal(false)
  const spoken = useSignal(0)
  const live = gateway.state.value === 'live'
  const again = () => turn.value++

  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    const wish = { limit: PAGE, offset, ...(state && { state }), ...(kind && { kind }), ...(session && { sessionKey: session }) }
    gateway.call('runs.list', wish).then(
      (found) => {
        if (!wanted) return
        page.value = { ...found, offset }
        error.value = null
      },
      (refusal) => wanted && refusal.details.reason !== 'connection_lost' && (error.value = refusal),
    )
    return () => (wanted = false)
  }, [live, state, kind, session, offset, turn.value])

  useEffect(() => {
    if (!live) return undefined
    const read = () => document.hidden || gateway.call('queue.stats').then((found) => (queue.value = found), () => null)
    read()
    const timer = setInterval(read, EVERY)
    return () => clearInterval(timer)
  }, [live, turn.value])

  useRunNews(again, (event) => {
    if (event.type === 'run.failed' && Date.now() - spoken.value > QUIET) {
      spoken.value = Date.now()
      say(t('runs.said.failed', { agent: event.agentId }))
    }
  })

  useEffect(() => {
    const onKey = ({ key, target, ctrlKey, metaKey, altKey }) => {
      if (ctrlKey || metaKey || altKey || target.closest('input, textarea, select, dialog')) return
      if (key === 'r') again()
      if (key === 'n' && may('operator')) making.value = true
      if (key === '[' && offset > 0) turnTo(offset - PAGE)
      if (key === ']' && page.value && offset + PAGE < page.value.total) turnTo(offset + PAGE)
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [offset])

  const counts = queue.value?.states
  const dead = queue.value?.dead_letters ?? 0
  const narrowed = !!(state || kind || session)
  return html`
    <div class="page runs">
      <header class="page-bar">
        <h1>${t('page.runs')}</h1>
        ${may('operator') && html`<button type="button" class="primary" onClick=${() => (making.value = true)}><${Icon} name="plus" />${t('runs.new')}</button>`}
        <${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${again} />
      </header>
      ${queue.value && html`<${Lanes} lanes=${queue.value.lanes} />`}
      ${dead > 0 && state !== 'DEAD_LETTER' && html`
        <p class="banner warn dead"><${Icon} name="triangle-alert" /><span>${t('runs.dead', { n: dead })}</span>
          <a href=${href('runs', { state: 'DEAD_LETTER' })}>${t('runs.dead.show')}</a></p>`}
      <div class="view-bar">
        <div class="chips" role="group" aria-label=${t('runs.filter.state')}>
          ${['', ...STATES].map((name) => html`
            <button type="button" key=${name} class="state" aria-pressed=${String(name === state)} onClick=${() => refine({ state: name, from: '' })}>
              ${name ? t(`runs.state.${name}`) : t('runs.filter.all')}${counts && html` <b>${number(name ? counts[name] : sum(counts))}</b>`}</button>`)}
        </div>
        <select aria-label=${t('runs.filter.kind')} onChange=${(event) => refine({ kind: event.target.value, from: '' })}>
          <option value="" selected=${!kind}>${t('runs.filter.kind')}</option>
          ${KINDS.map((name) => html`<option key=${name} value=${name} selected=${name === kind}>${t(`runs.kind.${name}`)}</option>`)}
        </select>
        ${session && html`<span class="mono muted session-filter">${session}</span>`}
        ${narrowed && html`<button type="button" class="quiet" onClick=${() => refine(NOTHING)}>${t('filter.clear')}</button>`}
      </div>
      ${error.value
        ? html`<${Trouble} error=${error.value} retry=${again} />`
        : page.value
          ? html`<${Found} page=${page.value} narrowed=${narrowed} />`
          : html`<${Skeleton} />`}
      ${making.value && html`<${NewTask} onClose=${() => (making.value = false)} />`}
    </div>`
}

const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0)
const turnTo = (offset) => refine({ from: offset > 0 ? String(offset) : '' })

function Found({ page: { runs, total, offset }, narrowed }) {
  if (runs.length === 0) {
    return narrowed || offset > 0
      ? html`<${Empty} title=${t('runs.nomatch')}><button type="button" onClick=${() => refine(NOTHING)}>${t('filter.clear')}</button><//>`
      : html`<${Empty} title=${t('runs.none')} hint=${t('runs.none.hint')}><a class="button" href=${href('chat')}>${t('chat.new')}</a><//>`
  }
  const to = offset + runs.length
  return html`
    <${RunTable} runs=${runs} />
    <footer class="pager">
      <span>${t('pager.range', { from: offset + 1, to, total })}</span>
      <button type="button" disabled=${offset === 0} onClick=${() => turnTo(offset - PAGE)}>${t('pager.previous')}</button>
      <button type="button" disabled=${to >= total} onClick=${() => turnTo(to)}>${t('pager.next')}</button>
    </footer>`
}
