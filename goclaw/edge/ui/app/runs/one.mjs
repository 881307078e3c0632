// One run: what it is, what befell it, what it did, and what can be done about it (dashboard.md §6.3).
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { duration, fullTime } from '../core/format.mjs'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { copyText } from '../core/ids.mjs'
import { href } from '../core/router.mjs'
import { Ago, Icon, IconButton, say, Skeleton, Trouble } from '../ui/parts.mjs'
import { Tabs } from '../ui/tabs.mjs'
import { Acts } from './acts.mjs'
import { OPEN, State, times, useRunNews } from './states.mjs'
import { Timeline } from './timeline.mjs'
import { Effects, Steps } from './work.mjs'

const EVENTS = 200 // of a trail, read at once
const VOID = new Set(['run.started', 'run.recovered', 'run.retrying', 'tool.result']) // a new text begins behind them
const TABS = ['timeline', 'steps', 'effects']

export function One({ id }) {
  const run = useSignal(null)
  const trail = useSignal([])
  const work = useSignal(null)
  const verdict = useSignal(null)
  const error = useSignal(null)
  const said = useSignal(null) // text that streams while it works; null: its beginning was not heard
  const tab = useSignal('timeline')
  const turn = useSignal(0)
  const live = gateway.state.value === 'live'
  const again = () => turn.value++

  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    const ask = (method, more) => gateway.call(method, { runId: id, ...more })
    const read = async () => {
      try {
        const [{ run: found }, events, done, checked] = await Promise.all([
          ask('runs.get'), ask('runs.events', { limit: EVENTS }), ask('runs.work'), ask('runs.verify'),
        ])
        if (!wanted) return
        if (run.value && run.value.state !== found.state) say(t('runs.said.state', { state: t(`runs.state.${found.state}`) }))
        run.value = found
        trail.value = events.events
        work.value = done
        verdict.value = checked
        error.value = null
      } catch (refusal) {
        if (wanted && refusal.details.reason !== 'connection_lost') error.value = refusal
      }
    }
    read()
    return () => (wanted = false)
  }, [live, id, turn.value])

  useRunNews(again, ({ type, payload }) => {
    if (type === 'chunk') said.value = (said.value ?? '… ') + payload.content
    else if (VOID.has(type)) said.value = ''
  }, id)

  const back = html`<a class="back" href=${href('runs')}>${t('page.runs')}</a>`
  if (error.value) return html`<div class="page runs"><header class="page-bar">${back}</header><${Trouble} error=${error.value} retry=${again} /></div>`
  if (!run.value) return html`<div class="page runs"><header class="page-bar">${back}</header><${Skeleton} /></div>`
  const shown = run.value
  const panel = {
    timeline: () => html`<${Timeline} trail=${trail.value} now=${OPEN.includes(shown.state)} />`,
    steps: () => html`<${Steps} work=${work.value} id=${id} />`,
    effects: () => html`<${Effects} effects=${work.value?.effects ?? []} />`,
  }[tab.value]
  return html`
    <div class="page runs one-run">
      <header class="page-bar">
        ${back}<span class="muted" aria-hidden="true">/</span><h1 title=${shown.content_preview}>${shown.content_preview || shown.id}</h1>
        <${State} state=${shown.state} sub=${shown.cancel_requested && OPEN.includes(shown.state) ? 'stopping' : shown.sub_status} />
        <${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${again} />
      </header>
      <${Acts} run=${shown} onDone=${again} />
      <div class="run-body">
        <div class="run-main">
          <${Outcome} run=${shown} said=${said.value} />
          <${Chain} verdict=${verdict.value} />
          <${Tabs} tabs=${TABS.map((name) => [name, t(`runs.tab.${name}`)])} chosen=${tab.value} label=${t('runs.inside')} onChoose=${(name) => (tab.value = name)}>${panel()}<//>
        </div>
        <${Facts} run=${shown} work=${work.value} />
      </div>
    </div>`
}

function Outcome({ run, said }) {
  const text = run.result?.content || (OPEN.includes(run.state) ? said : '')
  return html`
    ${run.error && html`<p class="trouble"><${Icon} name="circle-alert" /><span class="grow">${run.error.message}</span> <code>${run.error.code}</code></p>`}
    ${text && html`<section class="run-result" aria-label=${t('runs.result')}><h2>${t('runs.result')}</h2><p>${text}</p></section>`}`
}

// Whether the trail is what was written: every event hangs on the one before, every step was legal.
function Chain({ verdict }) {
  if (!verdict) return null
  return html`
    <div class="chain" data-ok=${String(verdict.ok)}>
      <p><${Icon} name=${verdict.ok ? 'check' : 'triangle-alert'} /><span>${verdict.ok ? t('runs.chain.ok', { n: verdict.events }) : t('runs.chain.broken')}</span>
        ${!verdict.whole && html`<small class="muted">${t('runs.chain.cut')}</small>`}</p>
      ${verdict.problems.length > 0 && html`<ul>${verdict.problems.map((text) => html`<li key=${text}>${text}</li>`)}</ul>`}
    </div>`
}

function Facts({ run, work }) {
  const { waited, worked, due } = times(run)
  const other = (id) => id && html`<a class="mono" href=${href('runs', {}, id)}>${id.slice(-12)}</a>`
  const usage = run.result?.usage
  const facts = [
    ['kind', t(`runs.kind.${run.kind}`)], ['agent', run.agent_key], ['user', run.user_id], ['session', html`<a class="mono" href=${href('runs', { session: run.session_key })}>${run.session_key}</a>`],
    ['lane', run.lane], ['priority', number(run.priority)], ['attempt', `${number(run.attempt)}/${number(run.max_attempts)}`],
    ['recoveries', run.recoveries ? number(run.recoveries) : null], ['reason', run.reason && html`<code>${run.reason}</code>`],
    ['created', html`<${Ago} at=${run.created_at} />`], ['due', due && html`<${Ago} at=${due} />`], ['waited', due ? null : duration(waited)],
    ['worked', worked == null ? null : duration(worked)], ['finished', run.finished_at && html`<time datetime=${run.finished_at}>${fullTime(run.finished_at)}</time>`],
    ['tokens', usage && t('runs.tokens', { input: number(usage.inputTokens), output: number(usage.outputTokens) })],
    ['locks', run.resource_keys.join(', ')], ['owner', run.lease_owner && html`<code title=${run.lease_owner}>${run.lease_owner.slice(-12)}</code>`],
    ['lease', run.lease_expires_at && html`<${Ago} at=${run.lease_expires_at} />`],
    ['parent', other(run.parent_run_id)], ['merged', other(run.merged_into)], ['requeued', other(run.requeued_from)],
  ].filter(([, value]) => value != null && value !== '' && value !== false)
  return html`
    <aside class="run-facts" aria-label=${t('runs.facts')}>
      <p class="run-id"><code>${run.id}</code><${IconButton} icon="copy" label=${t('runs.copy')} onClick=${() => copyText(run.id)} /></p>
      <dl>${facts.map(([name, value]) => html`<div key=${name}><dt>${t(`runs.fact.${name}`)}</dt><dd>${value}</dd></div>`)}</dl>
      ${work?.request?.message && html`<h2>${t('runs.request')}</h2><p class="run-request">${work.request.message}</p>`}
      ${work?.children.length > 0 && html`<h2>${t('runs.children')}</h2>
        <ul class="run-children">${work.children.map((child) => html`
          <li key=${child.run_id}><a href=${href('runs', {}, child.run_id)}>${t(`runs.kind.${child.kind}`)} · ${child.agent_key}</a> <${State} state=${child.state} /></li>`)}</ul>`}
    </aside>`
}
