// The questions before an action: what users will notice, why, how long; and the restart of many (dashboard.md §7.6).
import { useEffect, useState } from 'preact/hooks'
import { get } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'
import { act, effectOf, fresh, perform, restarted } from './actions.mjs'

const TYPED = ['kill', 'stop'] // the class name is typed before
const TIMED = ['restart', 'stop']
const MOST = 50 // actors restarted at once

export function ActionDialog({ tree, node: seen, action, onKill, onClose }) {
  const [node, setNode] = useState(seen)
  const [reason, setReason] = useState('')
  const [seconds, setSeconds] = useState('5')
  const [typed, setTyped] = useState('')
  const [trouble, setTrouble] = useState('')
  const onSubmit = async () => {
    try {
      const now = await fresh(node.path)
      if (now.incarnation !== node.incarnation) {
        setTrouble(t('actors.changed', { incarnation: now.incarnation }))
        setNode({ ...node, ...now })
        return
      }
      await act(tree, action, now, { reason, ...(TIMED.includes(action) && { timeout_ms: Math.round(Number(seconds) * 1000) }) }, onKill)
      onClose()
    } catch (error) {
      setTrouble(error.code === 'GONE' ? t('actors.ended', { incarnation: error.details?.last_incarnation ?? node.incarnation }) : reasonOf(error))
    }
  }
  const inTime = Number(seconds) >= 0 && Number(seconds) <= 60 && seconds !== ''
  const ready = (!TYPED.includes(action) || typed === node.class) && inTime
  const input = (set) => (event) => set(event.target.value)
  return html`
    <${Dialog} title=${t(`actors.ask.${action}`)} yes=${t(`actors.action.${action}`)} danger=${true} ready=${ready} onSubmit=${onSubmit} onClose=${onClose}>
      <p class="mono">${node.path}</p>
      <p class="consequence"><${Icon} name="triangle-alert" /><span>${t(`actors.effect.${action === 'suspend' || action === 'resume' ? action : effectOf(node)}`)}
        ${action === 'stop' && html` ${t('actors.stop.virtual')}`}</span></p>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <label class="field">${t('actors.reason')}<input maxlength="500" value=${reason} onInput=${input(setReason)} /></label>
      ${TIMED.includes(action) && html`<label class="field">${t('actors.timeout')}<input type="number" min="0" max="60" step="any" value=${seconds} onInput=${input(setSeconds)} /></label>`}
      ${TYPED.includes(action) && html`<label class="field">${t('actors.type', { class: node.class })}<input value=${typed} autocomplete="off" spellcheck=${false} onInput=${input(setTyped)} /></label>`}
    <//>`
}

// Restarts the quarantined of one class, or the rows somebody marked: one after another, and no further after a failure.
export function BulkDialog({ tree, marked, onClose }) {
  const [found, setFound] = useState(marked ?? null)
  const [cls, setClass] = useState('')
  const [reason, setReason] = useState('')
  const [fates, setFates] = useState(null) // path → state of its restart
  const [trouble, setTrouble] = useState('')
  useEffect(() => {
    if (marked) return
    get('/v1/actors', { path: '/', format: 'flat', state: 'quarantined', limit: MOST })
      .then(({ actors }) => {
        setFound(actors)
        setClass(actors[0]?.class ?? '')
      })
      .catch((error) => setTrouble(reasonOf(error)))
  }, [])
  const classes = [...new Set((found ?? []).map((node) => node.class))]
  const chosen = (found ?? []).filter((node) => marked || node.class === cls).slice(0, MOST)
  const onSubmit = async () => {
    const tell = (path, fate) => setFates((before) => ({ ...before, [path]: fate }))
    setFates({})
    for (const node of chosen) {
      tell(node.path, 'busy')
      try {
        await perform('restart', node.path, { reason })
        const done = await restarted(tree, node.path, node.incarnation)
        tell(node.path, done ? 'done' : 'late')
        if (!done) return
      } catch (error) {
        tell(node.path, 'failed')
        setTrouble(reasonOf(error))
        return
      }
    }
  }
  return html`
    <${Dialog} title=${t('actors.bulk')} yes=${fates ? undefined : t('actors.bulk.go', { n: chosen.length })} danger=${true} ready=${chosen.length > 0} onSubmit=${onSubmit} onClose=${onClose}>
      ${!marked && classes.length > 0 && html`<label class="field">${t('actors.filter.class')}<select disabled=${!!fates} onChange=${(event) => setClass(event.target.value)}>
        ${classes.map((name) => html`<option key=${name} value=${name} selected=${name === cls}>${name}</option>`)}</select></label>`}
      ${!fates && html`<label class="field">${t('actors.reason')}<input maxlength="500" value=${reason} onInput=${(event) => setReason(event.target.value)} /></label>`}
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      ${found?.length === 0 && html`<p class="muted">${t('actors.bulk.none')}</p>`}
      <ol class="progress" aria-live="polite">${chosen.map((node) => html`
        <li key=${node.path} data-fate=${fates?.[node.path] ?? 'waiting'}><span class="mono">${node.path}</span><span>${fates && t(`actors.fate.${fates[node.path] ?? 'waiting'}`)}</span></li>`)}</ol>
    <//>`
}
