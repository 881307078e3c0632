// Makes or changes a job: three kinds of schedule with their next times, or what is wrong with them (dashboard.md §6.3).
import { useEffect, useState } from 'preact/hooks'
import { fullTime } from '../core/format.mjs'
import { gateway, get } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'

const TYPING = 300 // ms
const KINDS = ['every', 'cron', 'at']
const UNITS = { second: 1000, minute: 60_000, hour: 3_600_000, day: 86_400_000 }
const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone

// `job` is the one to change or to copy, if any; `id` only of the one to change.
export function JobForm({ job, id, onDone, onClose }) {
  const [form, setForm] = useState(() => formOf(job, id))
  const [agents, setAgents] = useState([])
  const [trouble, setTrouble] = useState('')
  useEffect(() => {
    gateway.call('agents.list', {}).then((answer) => setAgents(answer.agents)).catch(() => setAgents([]))
  }, [])
  const file = job?.payload.promptFile // where the message is, unless it is given here
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.type === 'checkbox' ? event.target.checked : event.target.value })
  const onSubmit = async () => {
    const { name, agentId, message, deliver, channel, to, stateless, deleteAfterRun, wakeHeartbeat } = form
    const told = message.trim() ? { message } : { promptFile: file }
    const wanted = { name, agentId, deliver, channel, to, stateless, deleteAfterRun, wakeHeartbeat, schedule: scheduleOf(form), ...told }
    try {
      await gateway.call(id ? 'cron.update' : 'cron.create', id ? { jobId: id, ...wanted } : wanted)
      onDone()
    } catch (error) {
      setTrouble(reasonOf(error))
    }
  }
  const check = (name) => html`<label class="check"><input type="checkbox" checked=${form[name]} onChange=${set(name)} />${t(`cron.field.${name}`)}</label>`
  const ready = form.name !== '' && (form.message.trim() !== '' || file) && scheduleOf(form) !== null
  return html`
    <${Dialog} title=${t(id ? 'cron.edit' : 'cron.new')} yes=${t('save')} ready=${ready} onSubmit=${onSubmit} onClose=${onClose}>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <label class="field">${t('cron.field.name')}<input required pattern="[a-z0-9][a-z0-9\\-]*" maxlength="100" value=${form.name} onInput=${set('name')} /></label>
      <label class="field">${t('cron.field.agent')}<select onChange=${set('agentId')}>
        ${agents.map(({ id: key, name, agentId }) => html`<option key=${key} value=${agentId} selected=${agentId === form.agentId || (!form.agentId && key === 'default')}>${name}</option>`)}</select></label>
      <label class="field">${t('cron.field.message')}<textarea required=${!file} placeholder=${file} rows="4" value=${form.message} onInput=${set('message')} /></label>
      <fieldset class="kinds"><legend>${t('cron.field.schedule')}</legend>
        ${KINDS.map((kind) => html`<label class="check" key=${kind}><input type="radio" name="kind" checked=${form.kind === kind} onChange=${() => setForm({ ...form, kind })} />${t(`cron.kind.${kind}`)}</label>`)}
        ${form.kind === 'every' && html`<div class="pair">
          <label class="field">${t('cron.field.every')}<input type="number" min="1" step="1" value=${form.every} onInput=${set('every')} /></label>
          <label class="field">${t('cron.field.unit')}<select onChange=${set('unit')}>${Object.keys(UNITS).map((unit) => html`<option key=${unit} value=${unit} selected=${unit === form.unit}>${t(`cron.unit.${unit}`)}</option>`)}</select></label></div>`}
        ${form.kind === 'cron' && html`<label class="field">${t('cron.field.expr')}<input class="mono" spellcheck=${false} maxlength="120" placeholder="0 9 * * mon-fri" value=${form.expr} onInput=${set('expr')} /></label>`}
        ${form.kind === 'at' && html`<label class="field">${t('cron.field.at')}<input type="datetime-local" value=${form.at} onInput=${set('at')} /></label>`}
        ${form.kind === 'cron' && html`<label class="field">${t('cron.field.tz')}<input spellcheck=${false} maxlength="64" value=${form.tz} onInput=${set('tz')} /></label>`}
        <${Upcoming} schedule=${scheduleOf(form)} />
      </fieldset>
      <div class="checks">${check('stateless')}${check('wakeHeartbeat')}${form.kind === 'at' && check('deleteAfterRun')}${check('deliver')}</div>
      ${form.deliver && html`<div class="pair">
        <label class="field">${t('cron.field.channel')}<input required maxlength="100" value=${form.channel} onInput=${set('channel')} /></label>
        <label class="field">${t('cron.field.to')}<input required maxlength="255" value=${form.to} onInput=${set('to')} /></label></div>`}
    <//>`
}

// The next times of a schedule, or the reason why there are none; asked of the gateway.
export function Upcoming({ schedule }) {
  const [found, setFound] = useState({ times: [] })
  const asked = schedule && JSON.stringify(schedule)
  useEffect(() => {
    if (!asked) return setFound({ times: [] })
    const leave = new AbortController()
    const timer = setTimeout(() => {
      get('/v1/cron/preview', { schedule: asked }, leave.signal)
        .then(setFound)
        .catch((error) => error.name !== 'AbortError' && setFound({ times: [], trouble: reasonOf(error) }))
    }, TYPING)
    return () => {
      clearTimeout(timer)
      leave.abort()
    }
  }, [asked])
  if (found.trouble) return html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${found.trouble}</span></p>`
  if (found.times.length === 0) return null
  return html`<div class="upcoming"><h3>${t('cron.next.times')}</h3><ol>${found.times.map((time) => html`<li key=${time}><time datetime=${time}>${fullTime(time)}</time></li>`)}</ol></div>`
}

function formOf(job, id) {
  const { schedule = {}, payload = {}, state } = job ?? {}
  const everyMs = schedule.everyMs ?? 3_600_000
  const unit = Object.keys(UNITS).findLast((name) => everyMs % UNITS[name] === 0) ?? 'second'
  return {
    name: id || !job ? (job?.name ?? '') : `${job.name}-copy`.slice(0, 100),
    agentId: job?.agentId ?? '',
    message: payload.message ?? '',
    kind: schedule.kind ?? 'every',
    every: String(everyMs / UNITS[unit]),
    unit,
    expr: schedule.expr ?? '',
    tz: schedule.tz ?? HERE,
    at: schedule.atMs && state?.nextRunAtMs ? local(schedule.atMs) : '',
    stateless: payload.stateless ?? true,
    wakeHeartbeat: payload.wake_heartbeat ?? false,
    deleteAfterRun: job?.deleteAfterRun ?? true,
    deliver: payload.deliver ?? false,
    channel: payload.channel ?? '',
    to: payload.to ?? '',
  }
}

// What was entered as E-CronSchedule; null while it is incomplete.
function scheduleOf({ kind, every, unit, expr, tz, at }) {
  const zone = tz.trim() && { tz: tz.trim() }
  if (kind === 'every') return Number(every) > 0 ? { kind, everyMs: Math.round(Number(every) * UNITS[unit]) } : null
  if (kind === 'cron') return expr.trim() ? { kind, expr: expr.trim(), ...zone } : null
  const atMs = new Date(at).getTime()
  return Number.isNaN(atMs) ? null : { kind, atMs }
}

const local = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
