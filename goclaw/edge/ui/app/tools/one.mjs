// One custom tool: its command, what is secret of it, and a call to try.
import { may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { IconButton } from '../ui/parts.mjs'
import { Status } from './status.mjs'
import { TryOut } from './try.mjs'

export const CustomTool = ({ one, acts, onClose }) => html`
  <section class="job tool-detail" aria-label=${t('tools.detail', { name: one.name })}>
    <header class="page-bar"><h2>${one.name}</h2><${Status} one=${one} />
      ${may('admin') && html`<button type="button" onClick=${() => acts.edit(one)}>${t('cron.act.edit')}</button>
        <button type="button" onClick=${() => acts.remove(one)}>${t('delete')}</button>`}
      <${IconButton} icon="x" label=${t('close')} onClick=${onClose} /></header>
    <p>${one.description}</p>
    <pre class="mono" tabindex="0" aria-label=${t('tools.command')}>${one.command}</pre>
    ${one.env_keys.length > 0 && html`<p class="muted">${t('tools.env.set', { names: one.env_keys.join(', ') })}</p>`}
    ${may('operator') && html`<${TryOut} key=${one.updated_at} tool=${one.name} parameters=${one.parameters} agent=${one.agent_id} />`}
  </section>`
