// What narrows the grid and the map; every choice is in the address (dashboard.md §7.2).
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { refine, route } from '../core/router.mjs'
import { Icon } from '../ui/parts.mjs'
import { ColumnMenu } from './columns.mjs'
import { STATES } from './states.mjs'

const KINDS = ['io', 'blocking', 'process', 'supervisor']
export const NOTHING = { q: '', state: '', class: '', kind: '', problems: '' }

export function Filters({ tree, field, grid, narrow }) {
  const { q = '', problems, class: cls = '', kind = '', state = '' } = route.value.query
  const classes = Object.keys(tree.totals.value?.by_class ?? {}).sort()
  const choice = (name, values, chosen, text) => html`
    <select aria-label=${t(`actors.filter.${name}`)} onChange=${(event) => refine({ [name]: event.target.value })}>
      <option value="" selected=${!chosen}>${t(`actors.filter.${name}`)}</option>
      ${values.map((value) => html`<option key=${value} value=${value} selected=${value === chosen}>${text(value)}</option>`)}
    </select>`
  const others = html`
    ${choice('state', STATES, state, (value) => t(`actors.state.${value}`))}
    ${choice('class', cls && !classes.includes(cls) ? [cls, ...classes] : classes, cls, (value) => value)}
    ${choice('kind', KINDS, kind, (value) => t(`actors.kind.${value}`))}
    <label class="check"><input type="checkbox" checked=${!!problems} onChange=${(event) => refine({ problems: event.target.checked ? '1' : '' })} /> ${t('actors.problems')}</label>`
  return html`
    <div class="view-bar">
      <label class="search"><${Icon} name="search" /><span class="unseen">${t('actors.filter')}</span>
        <input type="search" ref=${field} placeholder=${t('actors.filter')} value=${q} onInput=${(event) => refine({ q: event.target.value })} /></label>
      ${narrow ? html`<details class="menu" onKeyDown=${(event) => event.key === 'Escape' && (event.currentTarget.open = false)}>
        <summary class="button" title=${t('actors.filters')}><${Icon} name="filter" /><span class="unseen">${t('actors.filters')}</span></summary><div class="menu-box">${others}</div></details>` : others}
      ${(q || state || cls || kind || problems) && html`<button type="button" class="quiet" onClick=${() => refine(NOTHING)}>${t('filter.clear')}</button>`}
      <span class="grow"></span>
      ${grid && !narrow && html`<${ColumnMenu} />`}
    </div>`
}
