// What agents can do: built-in tools by kind, whether they are in use, how they are set (dashboard.md §6.5, page 26).
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { go, href, refine, route } from '../core/router.mjs'
import { Detail } from '../tools/detail.mjs'
import { stateOf, Status } from '../tools/status.mjs'
import { Icon, IconButton, reasonOf, say, Skeleton, Trouble } from '../ui/parts.mjs'

const COLUMNS = ['name', 'about', 'needs', 'state']

export default function Tools() {
  const { id, query: { q = '' } } = route.value
  const answer = useSignal(null)
  const error = useSignal(null)
  const turn = useSignal(0)
  const live = gateway.state.value === 'live'
  const again = () => turn.value++
  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    gateway
      .call('tools.list', {})
      .then((found) => {
        if (!wanted) return
        answer.value = found.tools
        error.value = null
      })
      .catch((refusal) => wanted && refusal.details?.reason !== 'connection_lost' && (error.value = refusal))
    return () => (wanted = false)
  }, [live, turn.value])
  useEffect(() => gateway.on('tools.updated', again), [])
  const toggle = async (one) => {
    try {
      await gateway.call('tools.update', { name: one.name, enabled: !one.enabled })
      say(t(one.enabled ? 'tools.did.disable' : 'tools.did.enable', { name: one.name }))
    } catch (refusal) {
      say(reasonOf(refusal))
      error.value = refusal
    }
    again()
  }
  const all = answer.value ?? []
  const shown = all.filter((one) => `${one.name} ${one.description} ${one.category}`.toLowerCase().includes(q.toLowerCase()))
  const kinds = [...new Set(shown.map((one) => one.category))].sort()
  const chosen = id && all.find((one) => one.name === id)
  return html`
    <div class="page">
      <header class="page-bar">
        <h1>${t('page.tools')}</h1>
        <label class="search"><${Icon} name="search" /><span class="unseen">${t('search')}</span>
          <input type="search" placeholder=${t('search')} value=${q} onInput=${(event) => refine({ q: event.target.value })} /></label>
        <${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${again} />
      </header>
      ${error.value && html`<${Trouble} error=${error.value} retry=${again} />`}
      ${!answer.value && !error.value && html`<${Skeleton} />`}
      ${chosen && html`<${Detail} key=${chosen.name} one=${chosen} onDone=${again} onClose=${() => go('tools')} />`}
      ${kinds.map((kind) => html`<section key=${kind} class="tool-kind" aria-label=${kind}>
        <h2>${kind}</h2>
        <table class="table tools">
          <thead><tr>${COLUMNS.map((column) => html`<th key=${column} scope="col">${t(`tools.col.${column}`)}</th>`)}<th scope="col"><span class="unseen">${t('cron.actions')}</span></th></tr></thead>
          <tbody>${shown.filter((one) => one.category === kind).map((one) => html`<${Row} key=${one.name} one=${one} toggle=${toggle} chosen=${one === chosen} />`)}</tbody>
        </table></section>`)}
    </div>`
}

const Row = ({ one, toggle, chosen }) => html`
  <tr data-enabled=${String(stateOf(one) === 'on')} aria-selected=${chosen ? 'true' : undefined}>
    <td><a href=${href('tools', {}, one.name)}>${one.name}</a></td>
    <td title=${one.description}>${one.description}</td>
    <td>${one.requires.map((program) => html`<code key=${program} class="need" data-missing=${String(one.missing.includes(program))}>${program}</code>`)}</td>
    <td><${Status} one=${one} /></td>
    <td class="acts">${may('admin') && html`<button type="button" class="quiet" onClick=${() => toggle(one)}>${t(one.enabled ? 'cron.act.disable' : 'cron.act.enable')}</button>`}</td>
  </tr>`
