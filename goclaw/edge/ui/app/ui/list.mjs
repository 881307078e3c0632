// What pages of lists share: rows that are read again when something happens, what is done to one, the bar, the states.
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { refine, route } from '../core/router.mjs'
import { confirm } from './confirm.mjs'
import { Empty, Icon, IconButton, reasonOf, say, Skeleton, Trouble } from './parts.mjs'

// `read()` gives the rows, anew after every one of `events` and whenever one of `keys` changes.
// `act(method, params, said)` tells whether it was done; `drop` asks `[question, detail]` before.
export function useList(read, events = [], keys = []) {
  const rows = useSignal(null)
  const error = useSignal(null)
  const turn = useSignal(0)
  const live = gateway.state.value === 'live'
  const again = () => turn.value++
  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    read().then(
      (found) => wanted && ((rows.value = found), (error.value = null)),
      (refusal) => wanted && refusal.details?.reason !== 'connection_lost' && (error.value = refusal),
    )
    return () => (wanted = false)
  }, [live, turn.value, ...keys])
  useEffect(() => {
    const ends = events.map((event) => gateway.on(event, again))
    return () => ends.forEach((end) => end())
  }, [])
  const act = async (method, params, said) => {
    try {
      const answer = await gateway.call(method, params)
      say(typeof said === 'function' ? said(answer) : said)
      again()
      return true
    } catch (refusal) {
      say(reasonOf(refusal))
      error.value = refusal
      return false
    }
  }
  const drop = async ([question, detail], ...work) => (await confirm(question, detail, t('delete'))) && act(...work)
  return { rows: rows.value, error: error.value, again, act, drop }
}

// Rows whose `words(row)` hold what is searched for.
export const found = (rows, words) => {
  const { q = '' } = route.value.query
  return (rows ?? []).filter((row) => words(row).toLowerCase().includes(q.toLowerCase()))
}

// `shown` is how many rows are left to see, `narrow` the query without its other filters; `make` is [text, onClick] of the one thing that can be added; `none` [title, hint].
export function ListPage({ name, list, shown, search, narrow, make, none, hint, bar, children }) {
  const { rows, error, again } = list
  const { q = '' } = route.value.query
  return html`
    <div class="page">
      <header class="page-bar">
        <h1>${t(`page.${name}`)}</h1>
        ${search && html`<label class="search"><${Icon} name="search" /><span class="unseen">${t('search')}</span>
          <input type="search" placeholder=${t('search')} value=${q} onInput=${(event) => refine({ q: event.target.value })} /></label>`}
        ${bar}<${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${again} />
        ${make && html`<button type="button" class="primary" onClick=${make[1]}><${Icon} name="plus" />${make[0]}</button>`}
      </header>
      ${hint && html`<p class="muted">${hint}</p>`}
      ${error && html`<${Trouble} error=${error} retry=${again} />`}
      ${!rows && !error && html`<${Skeleton} />`}
      ${rows?.length === 0 && none && html`<${Empty} title=${none[0]} hint=${none[1]} />`}
      ${rows?.length > 0 && shown === 0 && html`<${Empty} title=${t('sessions.nomatch')}><button type="button" onClick=${() => refine({ q: '', ...narrow })}>${t('filter.clear')}</button><//>`}
      ${children}
    </div>`
}

// `words(column)` is what a column is called; `numbers` are those whose values line up at their end.
export const Table = ({ kind, words, columns, numbers = [], acts = true, children }) => html`
  <table class="table ${kind}">
    <thead><tr>${columns.map((column) => html`<th key=${column} scope="col" class=${numbers.includes(column) ? 'number' : undefined}>${words(column)}</th>`)}
      ${acts && html`<th scope="col"><span class="unseen">${t('cron.actions')}</span></th>`}</tr></thead>
    <tbody>${children}</tbody></table>`

export const Act = ({ onClick, children }) => html`<button type="button" class="quiet" onClick=${onClick}>${children}</button>`
export const Toggle = ({ one, onClick }) => html`<${Act} onClick=${onClick}>${t(one.enabled ? 'cron.act.disable' : 'cron.act.enable')}<//>`
