// Jobs that run by schedule: what they are, what became of them, and everything one may do to them (dashboard.md §6.3).
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { Detail } from '../cron/detail.mjs'
import { JobForm } from '../cron/form.mjs'
import { inWords } from '../cron/words.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { refine, route } from '../core/router.mjs'
import { confirm } from '../ui/confirm.mjs'
import { Ago, Empty, Icon, IconButton, reasonOf, say, Skeleton, Trouble } from '../ui/parts.mjs'

export default function Cron() {
  const { job: chosen, q = '' } = route.value.query
  const answer = useSignal(null)
  const error = useSignal(null)
  const form = useSignal(null) // {job, id}
  const turn = useSignal(0)
  const live = gateway.state.value === 'live'
  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    gateway
      .call('cron.list', { includeDisabled: true })
      .then((found) => {
        if (!wanted) return
        answer.value = found
        error.value = null
      })
      .catch((refusal) => wanted && refusal.details?.reason !== 'connection_lost' && (error.value = refusal))
    return () => (wanted = false)
  }, [live, turn.value])
  useEffect(() => gateway.on('cron', () => turn.value++), [])
  const act = async (method, params, done) => {
    try {
      const answered = await gateway.call(method, params)
      say(typeof done === 'function' ? done(answered) : done)
    } catch (refusal) {
      say(reasonOf(refusal))
      error.value = refusal
    }
    turn.value++
  }
  const acts = {
    run: (job) => act('cron.run', { jobId: job.id, mode: 'force' }, ({ ran }) => t(ran ? 'cron.did.run' : 'cron.did.nothing', { name: job.name })),
    toggle: (job) => act('cron.toggle', { jobId: job.id, enabled: !job.enabled }, t(job.enabled ? 'cron.did.disable' : 'cron.did.enable', { name: job.name })),
    edit: (job) => (form.value = { job, id: job.id }),
    copy: (job) => (form.value = { job }),
    remove: async (job) => {
      if (await confirm(t('cron.ask.delete'), job.name, t('delete'))) await act('cron.delete', { jobId: job.id }, t('cron.did.delete', { name: job.name }))
    },
  }
  const jobs = answer.value?.jobs ?? []
  const shown = jobs.filter(({ name, agentKey }) => `${name} ${agentKey}`.includes(q.toLowerCase()))
  const job = jobs.find(({ id }) => id === chosen)
  return html`
    <div class="page">
      <header class="page-bar">
        <h1>${t('page.cron')}</h1>
        <label class="search"><${Icon} name="search" /><span class="unseen">${t('search')}</span>
          <input type="search" placeholder=${t('search')} value=${q} onInput=${(event) => refine({ q: event.target.value })} /></label>
        <${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${() => turn.value++} />
        ${may('operator') && html`<button type="button" class="primary" onClick=${() => (form.value = {})}><${Icon} name="plus" />${t('cron.new')}</button>`}
      </header>
      ${answer.value?.status.enabled === false && html`<p class="banner warn"><${Icon} name="triangle-alert" />${t('cron.off')}</p>`}
      ${error.value && html`<${Trouble} error=${error.value} retry=${() => turn.value++} />`}
      ${!answer.value && !error.value && html`<${Skeleton} />`}
      ${answer.value && jobs.length === 0 && html`<${Empty} title=${t('cron.none')} hint=${t('cron.none.hint')} />`}
      ${jobs.length > 0 && shown.length === 0 && html`<${Empty} title=${t('sessions.nomatch')}><button type="button" onClick=${() => refine({ q: '' })}>${t('filter.clear')}</button><//>`}
      ${shown.length > 0 && html`<table class="table jobs">
        <thead><tr>${['name', 'agent', 'schedule', 'next', 'last', 'status', 'deliver'].map((column) => html`<th key=${column} scope="col">${t(`cron.col.${column}`)}</th>`)}<th scope="col"><span class="unseen">${t('cron.actions')}</span></th></tr></thead>
        <tbody>${shown.map((one) => html`<${Row} key=${one.id} job=${one} acts=${acts} chosen=${one.id === chosen} />`)}</tbody>
      </table>`}
      ${job && html`<${Detail} job=${job} acts=${acts} turn=${turn.value} onClose=${() => refine({ job: '' })} />`}
      ${form.value && html`<${JobForm} ...${form.value} onClose=${() => (form.value = null)} onDone=${() => {
        form.value = null
        turn.value++
      }} />`}
    </div>`
}

function Row({ job, acts, chosen }) {
  const { nextRunAtMs, lastRunAtMs, lastStatus, lastError } = job.state
  const words = inWords(job.schedule)
  return html`
    <tr data-enabled=${String(job.enabled)} aria-selected=${chosen ? 'true' : undefined}>
      <td><button type="button" class="quiet" onClick=${() => refine({ job: chosen ? '' : job.id })}>${job.name}</button></td>
      <td>${job.agentKey}</td>
      <td>${words}${words && job.schedule.expr && ' '}${job.schedule.expr && html`<code>${job.schedule.expr}</code>`}${job.schedule.tz && html` <span class="muted">${job.schedule.tz}</span>`}</td>
      <td>${nextRunAtMs ? html`<${Ago} at=${nextRunAtMs} />` : t(job.enabled ? 'cron.next.none' : 'cron.disabled')}</td>
      <td>${lastRunAtMs && html`<${Ago} at=${lastRunAtMs} />`}</td>
      <td>${lastStatus && html`<span class="status" data-status=${lastStatus} title=${lastError}>${t(`cron.status.${lastStatus}`)}</span>`}</td>
      <td>${job.payload.deliver && `${job.payload.channel} ${job.payload.to}`}</td>
      <td class="acts">${may('operator') && html`
        <button type="button" class="quiet" onClick=${() => acts.run(job)}>${t('cron.act.run')}</button>
        <button type="button" class="quiet" onClick=${() => acts.toggle(job)}>${t(job.enabled ? 'cron.act.disable' : 'cron.act.enable')}</button>`}</td>
    </tr>`
}
