// Listens to the next messages of one actor, for a while, and keeps them in memory only (dashboard.md §7.5).
import { useEffect, useRef, useState } from 'preact/hooks'
import { may, request } from '../core/gateway.mjs'
import { duration, fullTime } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { confirm } from '../ui/confirm.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'
import { urlOf } from './actions.mjs'

const MOST = 1000 // envelopes, also the contract's bound

export function Tap({ node }) {
  const [count, setCount] = useState('100')
  const [seconds, setSeconds] = useState('10')
  const [bodies, setBodies] = useState(false)
  const [rows, setRows] = useState(null)
  const [trouble, setTrouble] = useState('')
  const listening = useRef(null)
  const [on, setOn] = useState(false)
  useEffect(() => () => listening.current?.abort(), [])
  const start = async (event) => {
    event.preventDefault()
    if (bodies && !(await confirm(t('actors.tap.bodies.ask'), node.path, t('actors.tap.bodies.yes')))) return
    listening.current = new AbortController()
    setRows([])
    setTrouble('')
    setOn(true)
    try {
      const body = { count: Number(count), seconds: Number(seconds), include_body: bodies }
      const answer = await request('POST', `${urlOf(node.path)}/trace`, { body, accept: 'text/event-stream', signal: listening.current.signal })
      for await (const envelope of envelopes(answer)) setRows((before) => [...before, envelope].slice(-MOST))
    } catch (error) {
      if (!listening.current.signal.aborted) setTrouble(reasonOf(error))
    }
    setOn(false)
  }
  const fits = (text, most) => Number(text) >= 1 && Number(text) <= most
  if (!may('admin')) return html`<p class="muted"><${Icon} name="lock" /> ${t('actors.refused.role')}</p>`
  return html`
    <form class="tap" onSubmit=${start}>
      <label class="field">${t('actors.tap.count')}<input type="number" min="1" max="1000" value=${count} onInput=${(event) => setCount(event.target.value)} /></label>
      <label class="field">${t('actors.tap.seconds')}<input type="number" min="1" max="60" value=${seconds} onInput=${(event) => setSeconds(event.target.value)} /></label>
      <label class="check"><input type="checkbox" checked=${bodies} onChange=${(event) => setBodies(event.target.checked)} /> ${t('actors.tap.bodies')}</label>
      ${on ? html`<button type="button" onClick=${() => listening.current.abort()}>${t('actors.tap.stop')}</button>`
        : html`<button type="submit" class="primary" disabled=${!fits(count, 1000) || !fits(seconds, 60) || node.redacted}>${t('actors.tap.start')}</button>`}
    </form>
    ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
    ${rows && html`
      <p class="muted tap-line" role="status"><span>${t(on ? 'actors.tap.on' : 'actors.tap.off', { n: rows.length })}</span>
        ${rows.length > 0 && !on && html`<button type="button" class="quiet" onClick=${() => save(node.path, rows)}><${Icon} name="download" />${t('actors.tap.save')}</button>`}</p>
      <table class="small-table tap-table"><thead><tr>${'type from wait handle outcome'.split(' ').map((name) => html`<th key=${name} scope="col">${t(`actors.tap.${name}`)}</th>`)}</tr></thead>
        <tbody>${rows.slice(-100).reverse().map((row, i) => html`<tr key=${rows.length - i} title=${row.body ? JSON.stringify(row.body) : row.at && fullTime(row.at)}>
          <td class="mono">${row.type}</td><td class="mono">${row.from}</td><td>${ms(row.wait_ms)}</td><td>${ms(row.handle_ms)}</td><td>${row.outcome}</td></tr>`)}</tbody></table>`}`
}

const ms = (value) => (value == null ? '' : value < 1 ? `${Math.round(value * 1000)} µs` : duration(value))

// The JSON of every `data:` line of a stream of server-sent events.
async function* envelopes(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    const lines = (rest + value).split('\n')
    rest = lines.pop()
    for (const line of lines) {
      const envelope = line.startsWith('data: ') && JSON.parse(line.slice(6))
      if (envelope?.type) yield envelope
    }
  }
}

function save(path, rows) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([rows.map((row) => `${JSON.stringify(row)}\n`).join('')], { type: 'application/jsonl' }))
  link.download = `${path.slice(1).replaceAll(/[^\w.-]+/g, '_') || 'root'}.jsonl`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
}
